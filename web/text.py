"""What the pages say, in the languages that they know. English is the key, other languages are catalogues."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LANGUAGES = {"en": "English", "vi": "Tiếng Việt"}

VIETNAMESE = {
    "Dashboard": "Tổng quan",
    "Queues": "Hàng đợi",
    "Queue": "Hàng đợi",
    "Busy": "Đang chạy",
    "Retries": "Chờ thử lại",
    "Scheduled": "Đã lên lịch",
    "Dead": "Đã chết",
    "Cron": "Lịch định kỳ",
    "Metrics": "Số liệu",
    "Job": "Công việc",
    "Confirm": "Xác nhận",
    "Error": "Lỗi",
    "Pages": "Các trang",
    "Skip to the content": "Tới nội dung",
    "Read only": "Chỉ đọc",
    "Live": "Trực tiếp",
    "Not live": "Không trực tiếp",
    "Processed": "Đã xử lý",
    "Failed": "Thất bại",
    "Enqueued": "Đang chờ",
    "Needs attention": "Cần chú ý",
    "… and {count} more": "… và {count} mục nữa",
    "The last {days} days (UTC)": "{days} ngày qua (UTC)",
    "{days} days": "{days} ngày",
    "As a table": "Dạng bảng",
    "Day": "Ngày",
    "No queue holds or held a job. Push one, and it shows here.": "Chưa có hàng đợi nào. Hãy đẩy một công việc vào.",
    "Size": "Kích thước",
    "Next job has waited": "Công việc kế tiếp đã chờ",
    "Processes": "Tiến trình",
    "State": "Trạng thái",
    "Actions": "Thao tác",
    "paused": "tạm dừng",
    "open": "đang mở",
    "Jobs: {count}": "Số công việc: {count}",
    "All queues": "Mọi hàng đợi",
    "No job waits here.": "Không có công việc nào chờ ở đây.",
    "Place": "Vị trí",
    "Arguments": "Tham số",
    "Keyword arguments": "Tham số theo tên",
    "Enqueued at": "Vào hàng đợi lúc",
    "First page": "Trang đầu",
    "Next page": "Trang sau",
    "Search": "Tìm",
    "Show all": "Hiện tất cả",
    "Looked at {seen} of {count}, found here: {found}": "Đã xem {seen} trên {count}, tìm thấy ở đây: {found}",
    "Nothing found in this part.": "Không tìm thấy gì trong phần này.",
    "Nothing is here.": "Không có gì ở đây.",
    "Tick all on this page": "Chọn tất cả trên trang này",
    "Tick": "Chọn",
    "Died": "Chết lúc",
    "Runs": "Chạy lúc",
    "Failures": "Số lần lỗi",
    "Ticked:": "Đã chọn:",
    "All that match:": "Tất cả kết quả khớp:",
    "All:": "Tất cả:",
    "Continue the search": "Tìm tiếp",
    "at least {count} jobs": "ít nhất {count} công việc",
    "{count} jobs": "{count} công việc",
    "which hold “{text}”": "có chứa “{text}”",
    "They are gone for good then.": "Sau đó chúng mất hẳn.",
    "The dead set keeps {room}: {drops} of the oldest will be dropped.": (
        "Tập đã chết giữ {room}: {drops} công việc cũ nhất sẽ bị bỏ."
    ),
    "Type {name} to confirm:": "Gõ {name} để xác nhận:",
    "Cancel": "Thôi",
    "Damaged entry": "Mục bị hỏng",
    "Failed, and will run again": "Đã lỗi, sẽ chạy lại",
    "Will run": "Sẽ chạy",
    "Dead: nobody tries it any more, since": "Đã chết: không ai thử lại nữa, từ",
    "Waits in queue": "Chờ trong hàng đợi",
    "Runs in": "Đang chạy trong",
    "Id": "Mã",
    "Tags": "Nhãn",
    "Created": "Tạo lúc",
    "First failure": "Lỗi lần đầu",
    "Last failure": "Lỗi gần nhất",
    "Backtrace": "Vết lỗi",
    "Other fields": "Trường khác",
    "{count} processes, {busy} of {threads} threads busy, as the last heartbeats tell.": (
        "{count} tiến trình, {busy} trên {threads} luồng đang bận, theo nhịp tim gần nhất."
    ),
    "No worker is running.": "Không có tiến trình nào chạy.",
    "Process": "Tiến trình",
    "Memory": "Bộ nhớ",
    "Started": "Bắt đầu",
    "Heartbeat": "Nhịp tim",
    "late": "trễ",
    "quiet": "im lặng",
    "running": "đang chạy",
    "runs inside another program": "chạy trong chương trình khác",
    "Running jobs": "Công việc đang chạy",
    "No job runs.": "Không có công việc nào đang chạy.",
    "Thread": "Luồng",
    "Entries: {count}": "Số mục: {count}",
    "shown: {count}": "hiển thị: {count}",
    "One of the code or of a configuration is set back at the next start, but stays enabled or disabled.": (
        "Mục trong mã nguồn hoặc cấu hình được đặt lại khi khởi động, nhưng vẫn giữ trạng thái bật hay tắt."
    ),
    "Name": "Tên",
    "When": "Khi nào",
    "Next runs (UTC)": "Lần chạy tới (UTC)",
    "Last runs": "Lần chạy gần đây",
    "enabled": "bật",
    "disabled": "tắt",
    "Enable": "Bật",
    "Disable": "Tắt",
    "Run now": "Chạy ngay",
    "Move to dead": "Chuyển sang đã chết",
    "Delete": "Xoá",
    "Delete all jobs": "Xoá mọi công việc",
    "Pause": "Tạm dừng",
    "Resume": "Tiếp tục",
    "Quiet": "Ngừng nhận việc",
    "Stop": "Dừng",
    "Log threads": "Ghi vết các luồng",
    "Period": "Khoảng thời gian",
    "Class": "Lớp",
    "Show": "Hiện",
    "From {time} UTC. Classes: {count}.": "Từ {time} UTC. Số lớp: {count}.",
    "Percentiles are estimated from histograms, for the first {count} classes.": (
        "Bách phân vị ước lượng từ biểu đồ tần suất, cho {count} lớp đầu."
    ),
    "Percentiles are kept for 8 hours.": "Bách phân vị được giữ trong 8 giờ.",
    "No job ran in this period.": "Không có công việc nào chạy trong khoảng này.",
    "Ran": "Đã chạy",
    "Time in all": "Tổng thời gian",
    "Average": "Trung bình",
    "in {time}": "sau {time}",
    "{time} ago": "{time} trước",
    "Put into their queues: {moved}.": "Đã đưa vào hàng đợi: {moved}.",
    "Moved to the dead set: {moved}.": "Đã chuyển sang tập đã chết: {moved}.",
    "Deleted: {moved}.": "Đã xoá: {moved}.",
    "The queue is paused.": "Hàng đợi đã tạm dừng.",
    "The queue is resumed.": "Hàng đợi đã tiếp tục.",
    "Told to take no more jobs, with the next heartbeat.": "Đã báo ngừng nhận việc, từ nhịp tim tới.",
    "Told to stop, with the next heartbeat.": "Đã báo dừng, từ nhịp tim tới.",
    "Told to log what its threads do, with the next heartbeat.": "Đã báo ghi vết các luồng, từ nhịp tim tới.",
    "The entry is enabled.": "Mục đã bật.",
    "The entry is disabled.": "Mục đã tắt.",
    "The job was pushed.": "Đã đẩy công việc.",
    "Gone by then: {gone}.": "Không còn nữa: {gone}.",
    "Left, as they are no jobs: {malformed}.": "Để lại vì không phải công việc: {malformed}.",
    "The dead set dropped its oldest: {dropped}.": "Tập đã chết đã bỏ mục cũ nhất: {dropped}.",
    "No worker is running: {count} jobs wait.": "Không có tiến trình nào chạy: {count} công việc đang chờ.",
    "Queue {queue} is paused with {count} jobs.": "Hàng đợi {queue} tạm dừng với {count} công việc.",
    "No process takes from queue {queue}: {count} jobs wait.": (
        "Không tiến trình nào lấy từ hàng đợi {queue}: {count} công việc đang chờ."
    ),
    "Queue {queue}: the next job has waited {seconds}.": "Hàng đợi {queue}: công việc kế tiếp đã chờ {seconds}.",
    "Process {process} has not shown itself for {seconds}.": "Tiến trình {process} không có nhịp tim trong {seconds}.",
    "The dead set holds {count} of {limit}: its oldest jobs go next.": (
        "Tập đã chết giữ {count} trên {limit}: công việc cũ nhất sẽ bị bỏ trước."
    ),
    "No worker is running, and no job waits.": "Không có tiến trình nào chạy, cũng không có công việc chờ.",
    "Needs attention: {busy} of {threads} threads busy, {enqueued} jobs wait.": (
        "Cần chú ý: {busy} trên {threads} luồng bận, {enqueued} công việc đang chờ."
    ),
    "Healthy: {busy} of {threads} threads busy, the next job has waited {seconds}.": (
        "Ổn: {busy} trên {threads} luồng bận, công việc kế tiếp đã chờ {seconds}."
    ),
    "Healthy: {busy} of {threads} threads busy, no job waits.": (
        "Ổn: {busy} trên {threads} luồng bận, không có công việc chờ."
    ),
    "Not found": "Không tìm thấy",
    "Not allowed": "Không được phép",
    "Bad request": "Yêu cầu không hợp lệ",
    "Redis does not answer": "Redis không trả lời",
    "Something broke": "Có lỗi xảy ra",
    "You may not do this: {action}.": "Bạn không được làm việc này: {action}.",
}
_CATALOGUES: Mapping[str, Mapping[str, str]] = {"en": {}, "vi": VIETNAMESE}


def translate(text: str, language: str, values: Mapping[str, Any]) -> str:
    """A sentence in a language, with its values; English where the catalogue lacks it."""
    found = _CATALOGUES.get(language, {}).get(text, text)
    return found.format(**values) if values else found


def choose(chosen: str | None, accepted: str) -> str:
    """The language of a user: the one chosen, else the first of the header `Accept-Language` that is known."""
    if chosen in LANGUAGES:
        return chosen
    wishes = []
    for place, part in enumerate(accepted.split(",")[:20]):
        name, _, quality = part.strip().partition(";q=")
        try:
            weight = float(quality or 1)
        except ValueError:
            weight = 0.0
        wishes.append((-weight, place, name.lower().partition("-")[0]))
    return next((name for weight, _, name in sorted(wishes) if name in LANGUAGES and weight < 0), "en")
