"""What the pages say in Vietnamese; the English sentence is the key."""

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
    "Redis does not answer.": "Redis không trả lời.",
    "What you see is as of {time} UTC, {age} ago.": "Số liệu bạn đang xem là lúc {time} UTC, cách đây {age}.",
    "Nothing was read before.": "Trước đó chưa đọc được gì.",
    "This page was not read before.": "Trang này trước đó chưa được đọc.",
    "No answer": "Không có trả lời",
    "Try again": "Thử lại",
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
    "How long jobs had waited": "Công việc đã chờ bao lâu",
    "Processes": "Tiến trình",
    "State": "Trạng thái",
    "Actions": "Thao tác",
    "paused": "tạm dừng",
    "paused by {name}": "{name} đã tạm dừng",
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
    "Failures": "Các lần lỗi",
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
    "Cancel": "Huỷ",
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
    "quiet": "ngừng nhận việc",
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
    "Log threads": "Ghi ngăn xếp vào nhật ký",
    "Period": "Khoảng thời gian",
    "Class": "Lớp",
    "Show": "Hiện",
    "From {time} UTC. Classes: {count}.": "Từ {time} UTC. Số lớp: {count}.",
    "Percentiles are estimated from histograms, for the first {count} classes: each is off by half at most.": (
        "Bách phân vị ước lượng từ biểu đồ tần suất, cho {count} lớp đầu: mỗi giá trị lệch nhiều nhất một nửa."
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
    "Told to log what its threads do, with the next heartbeat.": "Đã báo ghi ngăn xếp vào nhật ký, từ nhịp tim tới.",
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
    "Process {process} has not shown itself for {seconds}.": "Tiến trình {process} không có nhịp tim trong {seconds}.",
    "The dead set holds {count} of {limit}: its oldest jobs go next.": (
        "Tập đã chết giữ {count} trên {limit}: công việc cũ nhất sẽ bị bỏ trước."
    ),
    "No worker is running, and no job waits.": "Không có tiến trình nào chạy, cũng không có công việc chờ.",
    "Needs attention: {up} of {processes} processes up, {busy} of {threads} threads busy, {enqueued} jobs wait.": (
        "Cần chú ý: {up} trên {processes} tiến trình đang chạy, {busy} trên {threads} luồng bận, {enqueued} công việc "
        "đang chờ."
    ),
    "Healthy: {up} of {processes} processes up, {busy} of {threads} threads busy, the next job has waited {seconds}.": (
        "Ổn: {up} trên {processes} tiến trình đang chạy, {busy} trên {threads} luồng bận, công việc kế tiếp đã chờ "
        "{seconds}."
    ),
    "Healthy: {up} of {processes} processes up, {busy} of {threads} threads busy, no job waits.": (
        "Ổn: {up} trên {processes} tiến trình đang chạy, {busy} trên {threads} luồng bận, không có công việc chờ."
    ),
    "Not found": "Không tìm thấy",
    "Not allowed": "Không được phép",
    "Bad request": "Yêu cầu không hợp lệ",
    "Redis does not answer": "Redis không trả lời",
    "Something broke": "Có lỗi xảy ra",
    "You may not do this: {action}.": "Bạn không được làm việc này: {action}.",
    "No figures yet.": "Chưa có số liệu.",
    "The newest {count} of {all} points.": "{count} điểm mới nhất trong {all} điểm.",
    "Time (UTC)": "Thời gian (UTC)",
    "Close": "Đóng",
    "Job id, queue or text": "Mã công việc, hàng đợi hoặc từ khoá",
    "Find a job": "Tìm công việc",
    "Find": "Tìm",
    "Display": "Hiển thị",
    "Colours": "Màu sắc",
    "Times": "Giờ",
    "Language": "Ngôn ngữ",
    "as the system": "theo hệ thống",
    "light": "sáng",
    "dark": "tối",
    "of this device": "của thiết bị này",
    "Main pages": "Trang chính",
    "More": "Thêm",
    "Keys": "Phím tắt",
    "Keys seen": "Số khoá đã xem",
    "and a letter: go to a page": "rồi một chữ cái: đến một trang",
    "next and previous row": "dòng sau và dòng trước",
    "tick the row": "chọn dòng",
    "tick from the last ticked row to this one": "chọn từ dòng vừa chọn đến dòng này",
    "tick all on this page": "chọn tất cả trong trang",
    "open the row": "mở dòng",
    "run now what is ticked, or the row": "chạy ngay các mục đã chọn, hoặc dòng này",
    "move it to dead": "chuyển sang đã chết",
    "delete it": "xoá",
    "copy the id of the job": "sao chép mã công việc",
    "previous and next page": "trang trước và trang sau",
    "pause the live updates, or go on": "dừng hoặc tiếp tục cập nhật trực tiếp",
    "show what is new": "hiện những gì mới",
    "colours: system, light, dark": "màu sắc: hệ thống, sáng, tối",
    "close, or leave the row": "đóng, hoặc rời dòng",
    "this list": "danh sách này",
    "Turn the keys off": "Tắt phím tắt",
    "Turn the keys on": "Bật phím tắt",
    "The keys are off, but for Esc.": "Phím tắt đang tắt, trừ Esc.",
    "Paused": "Tạm dừng",
    "Stale {time}": "Số liệu cũ {time}",
    "New: {count}": "Mới: {count}",
    "Changed": "Có thay đổi",
    "{count} of {all} selected": "đã chọn {count} trên {all}",
    "{count} selected": "đã chọn {count}",
    "Copied: {text}": "Đã sao chép: {text}",
    "{enqueued} jobs wait, {busy} run, {retries} to be retried, {dead} dead": (
        "{enqueued} công việc đang chờ, {busy} đang chạy, {retries} chờ thử lại, {dead} đã chết"
    ),
    "Home": "Đầu",
    "Retries: {retries}. Dead: {dead}. Looked at: {seen}. Causes: {count}.": (
        "Chờ thử lại: {retries}. Đã chết: {dead}. Đã xem: {seen}. Số nguyên nhân: {count}."
    ),
    "The curves begin at {time} UTC.": "Các đường biểu diễn bắt đầu từ {time} UTC.",
    "No job waits for a retry, and none is dead.": (
        "Không có công việc nào chờ thử lại, cũng không có công việc nào chết."
    ),
    "Retry now": "Thử lại ngay",
    "Retry in waves …": "Thử lại theo đợt …",
    "Retry in waves": "Thử lại theo đợt",
    "No error is noted.": "Không có lỗi nào được ghi lại.",
    "First failures over time": "Các lần lỗi đầu theo thời gian",
    "First": "Lần đầu",
    "Last": "Gần nhất",
    "in retries: {count}": "chờ thử lại: {count}",
    "dead: {count}": "đã chết: {count}",
    "Exactly these jobs are meant, those that fail from now on are not.": (
        "Chỉ áp dụng cho đúng những công việc này, không cho những công việc lỗi từ lúc này trở đi."
    ),
    "Jobs of a wave": "Số công việc mỗi đợt",
    "Seconds from wave to wave": "Số giây giữa hai đợt",
    "Calculate again": "Tính lại",
    "{size} jobs every {time}: the last runs in {lasts}. Waves: {waves}.": (
        "Cứ {time} chạy {size} công việc: đợt cuối chạy sau {lasts}. Số đợt: {waves}."
    ),
    "All of them wait among the retries until then; dead ones too.": (
        "Đến lúc đó tất cả, kể cả những công việc đã chết, nằm trong danh sách chờ thử lại."
    ),
    "Put into waves: {moved}.": "Đã xếp vào các đợt: {moved}.",
    "Activity": "Nhật ký thao tác",
    "What people did on these pages and with the command line. About the last 10,000 actions are kept.": (
        "Những gì mọi người đã làm trên các trang này và bằng dòng lệnh. Giữ lại khoảng 10,000 thao tác gần nhất."
    ),
    "User": "Người dùng",
    "Action": "Thao tác",
    "Looked at {seen}, found here: {found}": "Đã xem {seen}, tìm thấy ở đây: {found}",
    "Nobody has changed anything yet.": "Chưa có ai thay đổi gì.",
    "On what": "Đối tượng",
    "Result": "Kết quả",
    "Filter": "Bộ lọc",
    "done": "xong",
    "refused": "bị từ chối",
    "failed": "thất bại",
    "moved: {count}": "đã chuyển: {count}",
    "gone: {count}": "không còn nữa: {count}",
    "no jobs: {count}": "không phải công việc: {count}",
    "dropped: {count}": "bị bỏ: {count}",
    "A process of Sidekiq only writes the stacks of its threads to its own log: ask it to log them.": (
        "Tiến trình của Sidekiq chỉ ghi ngăn xếp các luồng vào nhật ký của nó: hãy yêu cầu nó ghi."
    ),
    "All of this host": "Mọi tiến trình trên máy này",
    "All processes": "Mọi tiến trình",
    "All {count} that match:": "Tất cả {count} tiến trình khớp:",
    "All {count}:": "Tất cả {count}:",
    "As of": "Tính đến",
    "As the figures of classes tell it. How much waited is recorded only while a process of jobd runs.": (
        "Theo số liệu của từng lớp. Lượng công việc chờ chỉ được ghi lại khi có tiến trình jobd chạy."
    ),
    "Asked": "Đã hỏi",
    "Asked for its stacks.": "Đã yêu cầu ngăn xếp.",
    "Capsule": "Nhóm luồng",
    "Clock ahead of that of Redis": "Đồng hồ nhanh hơn của Redis",
    "Cron entries that are late besides: {count}.": "Các lịch định kỳ khác cũng bị trễ: {count}.",
    "Cron entry {name} is late.": "Lịch định kỳ {name} bị trễ.",
    "Different versions run beside each other:": "Nhiều phiên bản đang chạy cùng lúc:",
    "Each ends its jobs, or gives them back after its timeout.": "Mỗi tiến trình xong việc, hay trả lại khi hết hạn.",
    "A master of jobd starts new processes in their place.": "Tiến trình chính của jobd sẽ chạy tiến trình mới thay.",
    "Fail most in the last hour": "Thất bại nhiều nhất trong giờ qua",
    "Host": "Máy",
    "It has not answered. Ask again, or look whether it still has heartbeats.": (
        "Nó chưa trả lời. Hãy hỏi lại, hoặc xem nó còn nhịp tim không."
    ),
    "Jobs that died within {seconds}: {count}.": "Số công việc đã chết trong {seconds}: {count}.",
    "Left out, as they run inside other programs: {count}.": "Bỏ qua vì chạy bên trong chương trình khác: {count}.",
    "No job has failed.": "Không có công việc nào thất bại.",
    "No process matches.": "Không có tiến trình nào khớp.",
    "Nobody has asked in the last minutes. The stacks are shown here, without values of variables.": (
        "Mấy phút qua chưa ai hỏi. Ngăn xếp sẽ hiện ở đây, không kèm giá trị của biến."
    ),
    "Of the jobs of the last 5 minutes {percent} failed, before {before}.": (
        "Trong 5 phút qua {percent} công việc thất bại, trước đó là {before}."
    ),
    "One mark for each thread, by the age of its job:": "Mỗi luồng một ô, theo thời gian chạy của công việc:",
    "Processed and failed, each {time}": "Đã xử lý và thất bại, mỗi {time}",
    "Processes not seen for long, besides: {count}.": "Các tiến trình khác cũng lâu không xuất hiện: {count}.",
    "Processor": "Bộ xử lý",
    "Queues from which no process takes, besides: {count}.": (
        "Các hàng đợi khác cũng không có tiến trình nào lấy việc: {count}."
    ),
    "Queues that are paused with jobs, besides: {count}.": (
        "Các hàng đợi khác cũng tạm dừng khi còn công việc: {count}."
    ),
    "Show stacks": "Xem ngăn xếp",
    "Slowest queue: its next job has waited": "Hàng đợi chậm nhất: công việc kế tiếp đã chờ",
    "The last hour": "Một giờ qua",
    "The last {time}": "{time} qua",
    "Threads": "Các luồng",
    "Version": "Phiên bản",
    "What its threads do": "Các luồng đang làm gì",
    "clock off by {seconds} s": "đồng hồ lệch {seconds} giây",
    "day": "ngày",
    "empty": "trống",
    "has ended since": "nay đã kết thúc",
    "heartbeat": "nhịp tim",
    "idle": "rảnh",
    "nobody takes from it": "không ai lấy việc",
    "older": "lâu hơn",
    "on host {name}": "trên máy {name}",
    "the longest for {time}": "lâu nhất {time}",
    "which take from queue {name}": "lấy việc từ hàng đợi {name}",
    "{count} outer calls": "{count} lời gọi bên ngoài",
    "{count} processes, which run {busy} jobs": "{count} tiến trình, đang chạy {busy} công việc",
    "{count} threads": "{count} luồng",
    "{done} jobs/s, {failed} failures/s.": "{done} công việc/giây, {failed} lỗi/giây.",
    "{times} × its p95": "gấp {times} lần p95 của nó",
    "A percentile lies within its range; it is estimated as if the jobs of a range were spread evenly.": (
        "Bách phân vị nằm trong khoảng của nó; ước lượng như thể công việc trong một khoảng được rải đều."
    ),
    "Address": "Địa chỉ",
    "All classes": "Mọi lớp",
    "All entries": "Mọi mục",
    "All entries:": "Mọi mục:",
    "All {count} keys were looked at, large ones by a sample of their entries.": (
        "Đã xem cả {count} khoá, khoá lớn thì theo mẫu các phần tử."
    ),
    "An estimate from a sample: {seen} of {count} keys were looked at, large ones by a sample of their entries.": (
        "Ước lượng từ một mẫu: đã xem {seen} trên {count} khoá, khoá lớn thì theo mẫu các phần tử."
    ),
    "Append-only file": "Tệp chỉ ghi thêm (AOF)",
    "Behind": "Chậm hơn",
    "Below": "Dưới",
    "Change": "Thay đổi",
    "Changes since": "Thay đổi từ đó",
    "Clients": "Kết nối",
    "Clients and commands": "Kết nối và lệnh",
    "Comes from": "Nguồn",
    "Command": "Lệnh",
    "Commands a second": "Lệnh mỗi giây",
    "Compare with the period before": "So với kỳ trước",
    "Delete the cron entry {name}": "Xoá mục lịch {name}",
    "Disable all": "Tắt tất cả",
    "Disable {count} cron entries": "Tắt {count} mục lịch",
    "Disk": "Đĩa",
    "Do not compare": "Không so sánh",
    "Enable all": "Bật tất cả",
    "Enable {count} cron entries": "Bật {count} mục lịch",
    "Entries": "Số mục",
    "Entries disabled: {moved}.": "Số mục đã tắt: {moved}.",
    "Entries enabled: {moved}.": "Số mục đã bật: {moved}.",
    "Export as CSV": "Xuất ra CSV",
    "Failure rate": "Tỷ lệ lỗi",
    "Family": "Nhóm",
    "From": "Từ",
    "From {time} UTC.": "Từ {time} UTC.",
    "How long they took": "Chạy mất bao lâu",
    "How many took how long": "Bao nhiêu công việc mất bao lâu",
    "It does not run.": "Mục này không chạy.",
    "It has not run yet.": "Mục này chưa chạy lần nào.",
    "It looks at keys for 60 ms at most.": "Chỉ xem các khoá trong tối đa 60 ms.",
    "It runs no more, and what is known of its last runs is gone.": (
        "Mục sẽ không chạy nữa, thông tin về các lần chạy cũng mất."
    ),
    "Its dead jobs": "Công việc đã chết của lớp",
    "Its master": "Máy chủ chính",
    "Its retries": "Công việc chờ thử lại của lớp",
    "Its scheduled jobs": "Công việc đã lên lịch của lớp",
    "Jobs": "Công việc",
    "Keys evicted": "Khoá bị loại bỏ",
    "Keys expired": "Khoá hết hạn",
    "Keys found": "Tỷ lệ tìm thấy khoá",
    "Keys of database {db}": "Khoá của cơ sở dữ liệu {db}",
    "Last heard of": "Tin gần nhất",
    "Last pushed": "Lần đẩy gần nhất",
    "Last runs, the latest on the right": "Các lần chạy gần đây, mới nhất bên phải",
    "Last snapshot": "Bản chụp gần nhất",
    "Late by": "Trễ",
    "Limit": "Giới hạn",
    "Looked at": "Đã xem",
    "Memory by family of keys": "Bộ nhớ theo nhóm khoá",
    "Memory in use": "Bộ nhớ đang dùng",
    "Minutes in which several run: {count}": "Số phút có nhiều mục cùng chạy: {count}",
    "Next runs": "Các lần chạy tới",
    "No entry of this name.": "Không có mục nào mang tên này.",
    "No job of this class ran in this period.": "Không có công việc nào của lớp này chạy trong khoảng này.",
    "No job runs by the clock. Give one a time:": "Chưa có công việc nào chạy theo giờ. Hãy đặt giờ cho một công việc:",
    "No run is to come.": "Không còn lần chạy nào.",
    "No two entries run in the same minute.": "Không có hai mục nào chạy trong cùng một phút.",
    "None is noted.": "Không có lệnh nào được ghi lại.",
    "None of them runs until it is enabled, after a restart neither.": (
        "Không mục nào chạy cho tới khi được bật lại, kể cả sau khi khởi động lại."
    ),
    "Not drawn, as they run every half hour or more often: {names}": (
        "Không vẽ vì chạy nửa giờ một lần hoặc dày hơn: {names}"
    ),
    "Of the first {count} entries by name.": "Của {count} mục đầu theo tên.",
    "Of the system": "Bộ nhớ lấy từ hệ thống",
    "Others": "Khác",
    "Peak": "Cao nhất",
    "Redis": "Redis",
    "Redis cannot write its append-only file: what it holds may be lost when it stops.": (
        "Redis không ghi được tệp AOF: dữ liệu có thể mất khi Redis dừng."
    ),
    "Redis could not save to its disk: what it holds may be lost when it stops.": (
        "Redis không lưu được xuống đĩa: dữ liệu có thể mất khi Redis dừng."
    ),
    "Redis has deleted {count} keys for want of memory: jobs may be lost.": (
        "Redis đã xoá {count} khoá vì thiếu bộ nhớ: công việc có thể đã mất."
    ),
    "Redis has turned away {count} connections: maxclients is too low.": (
        "Redis đã từ chối {count} kết nối: maxclients quá thấp."
    ),
    "Redis is set to delete keys when its memory is full ({policy}): jobs may be lost. Set noeviction.": (
        "Redis được đặt để xoá khoá khi đầy bộ nhớ ({policy}): công việc có thể mất. Hãy đặt noeviction."
    ),
    "Redis writes nothing to its disk: all jobs are lost when it stops.": (
        "Redis không ghi gì xuống đĩa: mọi công việc sẽ mất khi Redis dừng."
    ),
    "Replicas": "Bản sao",
    "Role": "Vai trò",
    "Ruby made it: if its schedule file holds it, it comes back when Ruby starts.": (
        "Mục do Ruby tạo: nếu có trong tệp lịch của Ruby, nó trở lại khi Ruby khởi động."
    ),
    "Running jobs and bookkeeping": "Công việc đang chạy và sổ sách",
    "Runs and failures": "Lần chạy và lỗi",
    "Runs over time": "Lần chạy theo thời gian",
    "Server": "Máy chủ",
    "Share of time": "Phần thời gian",
    "Show again": "Hiện lại",
    "Slow commands": "Lệnh chậm",
    "Snapshots": "Bản chụp",
    "So far {known} of {points} points of the period are read, the latest; the others are being read.": (
        "Mới đọc {known} trên {points} điểm của khoảng này, từ mới nhất; các điểm khác đang được đọc."
    ),
    "Take a sample": "Lấy mẫu",
    "Take a sample again": "Lấy mẫu lại",
    "The clock changes before it, from {before} to {after}.": "Đồng hồ đổi trước lần này, từ {before} sang {after}.",
    "The entry is deleted.": "Đã xoá mục.",
    "The largest queues and sets": "Hàng đợi và tập lớn nhất",
    "The last {count} that took longer than {time}.": "{count} lệnh gần đây lâu hơn {time}.",
    "The next 24 hours (UTC)": "24 giờ tới (UTC)",
    "The period before": "Kỳ trước",
    "The user of Redis may not ask for all that is shown here; missing: {rights}": (
        "Người dùng Redis không được hỏi mọi thứ ở đây; còn thiếu: {rights}"
    ),
    "They run at their next tick; what was missed meanwhile is not made up for.": (
        "Các mục chạy ở lần kế tiếp; những lần đã lỡ không được chạy bù."
    ),
    "This is a replica: what it shows may be late, and it cannot be changed.": (
        "Đây là bản sao: dữ liệu có thể trễ và không sửa được."
    ),
    "This period": "Kỳ này",
    "Tick (UTC)": "Lần (UTC)",
    "Time zone": "Múi giờ",
    "Took": "Thời gian",
    "Totals": "Tổng số",
    "Up for": "Đã chạy",
    "When it is full": "Khi đầy",
    "When the last one still runs": "Khi lần trước còn chạy",
    "When ticks were missed": "Khi lỡ các lần chạy",
    "a configuration: it is set back at the next start, and comes back if it is deleted": (
        "cấu hình: được đặt lại khi khởi động, và trở lại nếu bị xoá"
    ),
    "all of them run late": "chạy bù tất cả",
    "and the time of the tick": "và thời điểm của lần chạy",
    "by hand": "chạy tay",
    "cannot be written": "không ghi được",
    "client middleware stopped it": "middleware phía client đã chặn",
    "entries that run": "mục chạy",
    "found: {count}": "tìm thấy: {count}",
    "it is skipped": "bỏ qua lần này",
    "it runs all the same": "vẫn chạy",
    "it was too late to run it": "đã quá trễ để chạy",
    "linked": "đã nối",
    "loading its data": "đang nạp dữ liệu",
    "missed": "lỡ",
    "none": "không có",
    "not allowed: {right}": "không được phép: {right}",
    "not linked": "chưa nối",
    "of {size}": "trên {size}",
    "off": "tắt",
    "on": "bật",
    "one is being written": "đang ghi một bản",
    "run time": "lúc chạy chương trình",
    "several in the same minute": "nhiều mục trong cùng một phút",
    "sidekiq-cron: a schedule file of Ruby may set it back": "sidekiq-cron: tệp lịch của Ruby có thể đặt lại",
    "skipped": "bỏ qua",
    "that of the job": "hàng đợi của công việc",
    "the code: it is set back at the next start, and comes back if it is deleted": (
        "mã nguồn: được đặt lại khi khởi động, và trở lại nếu bị xoá"
    ),
    "the last job had not ended": "công việc trước chưa xong",
    "the last of them runs late": "chạy bù lần cuối",
    "the machine has {size}": "máy có {size}",
    "they are left out": "bỏ qua các lần đó",
    "{count} expire": "{count} có hạn",
    "{count} ticks before it were missed": "{count} lần trước đó đã lỡ",
    "{count} wait": "{count} đang đợi",
    "Add to the search": "Thêm vào tìm kiếm",
    "All on this page:": "Tất cả trên trang này:",
    "Argument, or path:value": "Tham số, hoặc đường_dẫn:giá_trị",
    "Began": "Bắt đầu lúc",
    "Change of many jobs": "Thay đổi hàng loạt",
    "Done": "Đã xong",
    "Done.": "Đã xong.",
    "Dropped by the dead set": "Bị tập đã chết loại bỏ",
    "Entered its queue": "Vào hàng đợi",
    "Export": "Xuất ra tệp",
    "Failed after at least {count}: {error}": "Hỏng sau ít nhất {count} mục: {error}",
    "Failed first": "Lỗi lần đầu",
    "Failed last": "Lỗi gần nhất",
    "Filter by field": "Lọc theo trường",
    "Given another time: {moved}.": "Đã đổi giờ chạy: {moved}.",
    "Goes on.": "Đang tiến hành.",
    "Gone by then": "Không còn nữa",
    "Last step": "Bước gần nhất",
    "Left, as they are no jobs": "Để lại vì không phải công việc",
    "Moved or deleted": "Đã chuyển hoặc xoá",
    "New time (UTC)": "Giờ mới (UTC)",
    "Newest first": "Mới nhất trước",
    "Next to be taken first": "Sắp được lấy trước",
    "No process knew its class": "Không tiến trình nào biết lớp này",
    "Nothing matches.": "Không có gì khớp.",
    "Of the newest {count}:": "Trong {count} công việc mới nhất:",
    "Progress": "Tiến độ",
    "Rate": "Tốc độ",
    "Reschedule": "Đổi giờ chạy",
    "Runs again": "Chạy lại",
    "Show them": "Hiện ra",
    "Since (UTC)": "Từ lúc (UTC)",
    "Stopped by hand.": "Đã bị dừng bằng tay.",
    "Stops after the portion at which it is.": "Sẽ dừng sau phần đang làm.",
    "Tag": "Nhãn",
    "The next job has waited {time}.": "Công việc kế tiếp đã chờ {time}.",
    "The same cause": "Cùng nguyên nhân",
    "They are large: {size}.": "Chúng khá lớn: {size}.",
    "This class in the last hour": "Lớp này trong một giờ qua",
    "To the list": "Về danh sách",
    "Told to stop after the portion at which it is.": "Đã báo dừng sau phần đang làm.",
    "Until (UTC)": "Đến lúc (UTC)",
    "What happened": "Diễn biến",
    "Will retry": "Sẽ thử lại",
    "With {count} lines of libraries": "Kèm {count} dòng của thư viện",
    "among the dead": "trong số đã chết",
    "among the failures": "trong trang lỗi",
    "Exact times": "Giờ chính xác",
    "as “5 min ago”": "như “5 phút trước”",
    "exact": "chính xác",
    "longest": "lâu nhất",
    "Group by cause": "Gom theo nguyên nhân",
    "Nothing to retry.": "Không có gì chờ thử lại.",
    "Nothing is scheduled.": "Không có gì được lên lịch.",
    "No job is dead.": "Không có công việc nào đã chết.",
    "Overdue for {time}: it runs as soon as a process fetches it.": (
        "Quá hạn {time}: sẽ chạy ngay khi có tiến trình lấy."
    ),
    "overdue for {time}": "quá hạn {time}",
    "Was due": "Đã đến hạn",
    "Has run for {time} in": "Đã chạy {time} trong",
    "{action}: {count} jobs": "{action}: {count} công việc",
    "First of all:": "Trước hết:",
    "Start one where the code of the jobs is:": "Hãy chạy ở nơi có mã của công việc:",
    "No queue holds or held a job.": "Chưa hàng đợi nào có công việc.",
    "Push a job, and its queue shows here:": "Đẩy một công việc, hàng đợi của nó sẽ hiện ở đây:",
    "among the retries": "trong số chờ thử lại",
    "attempt {n}": "lần thử {n}",
    "attempt {n} of {most}": "lần thử {n} trên {most}",
    "failed {n} times": "đã lỗi {n} lần",
    "ran {ran}, failed {failed} ({share})": "đã chạy {ran}, lỗi {failed} ({share})",
    "{count} a second": "{count} mỗi giây",
    "{done} of {of}": "{done} trên {of}",
    "{time} later": "{time} sau đó",
    "{time} left": "còn {time}",
    "Interrupted after at least {count}: the process that carried it out has ended.": (
        "Bị gián đoạn sau ít nhất {count} mục: tiến trình thực hiện đã kết thúc."
    ),
    "Done again, it copies those that were copied already as well.": (
        "Nếu làm lại, những công việc đã được sao chép cũng bị sao chép thêm lần nữa."
    ),
    "No job is lost or doubled; do it again for the rest.": (
        "Không công việc nào bị mất hay nhân đôi; hãy làm lại cho phần còn lại."
    ),
    "In the search, with a - before what must not be there:": "Trong ô tìm, đặt - trước những gì không được có:",
    "Environment": "Môi trường",
    "Redis uses {percent} of its memory: when it is full, jobs cannot be pushed.": (
        "Redis dùng {percent} bộ nhớ: khi đầy sẽ không đẩy được công việc."
    ),
    "Redis uses {percent} of its memory.": "Redis dùng {percent} bộ nhớ.",
    "At most {most} are looked at, and about {size}: those that died last, and the retries that run next and last.": (
        "Chỉ xem nhiều nhất {most}, khoảng {size}: những công việc chết gần đây nhất, và những lần thử lại sớm nhất và "
        "muộn nhất."
    ),
    "You may not look at them: that needs the right dump.": "Bạn không được xem: cần quyền dump.",
    "There are more classes than are kept for so long: {known} of {points} points of the period are shown. The "
    "interface for programs has all of them.": (
        "Có nhiều lớp hơn mức được giữ cho khoảng dài như vậy: đang hiện {known} trên {points} điểm. Giao diện cho "
        "chương trình có đủ."
    ),
    "it answers with its next heartbeat ({count} s unless configured otherwise). This page looks again by itself.": (
        "nó trả lời ở nhịp kế tiếp ({count} giây, trừ khi cấu hình khác). Trang này tự xem lại."
    ),
    "Skip next run": "Bỏ qua lần chạy tới",
    "Do not skip": "Không bỏ qua nữa",
    "Next run is skipped: {time} UTC": "Lần chạy tới bị bỏ qua: {time} UTC",
    "Unless sidekiq-cron ticks: it does not know of that.": "Trừ khi sidekiq-cron chạy mục này: nó không biết điều đó.",
    "somebody wanted it skipped": "có người đã yêu cầu bỏ qua",
    "The next run is skipped.": "Lần chạy tới bị bỏ qua.",
    "The next run is not skipped any more.": "Lần chạy tới không còn bị bỏ qua.",
    "every day": "hằng ngày",
    "every hour": "mỗi giờ",
    "every minute": "mỗi phút",
    "every second": "mỗi giây",
    "every {count} days": "cứ {count} ngày một lần",
    "every {count} hours": "cứ {count} giờ một lần",
    "every {count} minutes": "cứ {count} phút một lần",
    "every {count} seconds": "cứ {count} giây một lần",
    "of every hour": "của mỗi giờ",
    "at {times}": "lúc {times}",
    "at second {numbers}": "ở giây {numbers}",
    "at minute {numbers}": "ở phút {numbers}",
    "in hour {numbers}": "trong giờ {numbers}",
    "from {first} to {last}": "từ {first} đến {last}",
    "{first} to {last}": "{first} đến {last}",
    "{first} to {last} in steps of {step}": "{first} đến {last} cách nhau {step}",
    "{items} and {last}": "{items} và {last}",
    "{time} {date}": "{time} {date}",
    "{clause} {more}": "{clause} {more}",
    "{clause}, {more}": "{clause}, {more}",
    "on {days} of the month": "vào {days} của tháng",
    "day {numbers}": "ngày {numbers}",
    "the last day": "ngày cuối cùng",
    "the last weekday": "ngày làm việc cuối cùng",
    "on {day} {month}": "vào ngày {day} {month}",
    "on {weekdays}": "vào {weekdays}",
    "in {months}": "trong {months}",
    "{days}, and on {weekdays}": "{days}, và vào {weekdays}",
    "{days}, if that is {weekdays}": "{days}, nếu đó là {weekdays}",
    "the first {weekday} of the month": "{weekday} đầu tiên của tháng",
    "the second {weekday} of the month": "{weekday} lần thứ hai trong tháng",
    "the third {weekday} of the month": "{weekday} lần thứ ba trong tháng",
    "the fourth {weekday} of the month": "{weekday} lần thứ tư trong tháng",
    "the fifth {weekday} of the month": "{weekday} lần thứ năm trong tháng",
    "the last {weekday} of the month": "{weekday} cuối cùng của tháng",
    "Sunday": "Chủ Nhật",
    "Monday": "thứ Hai",
    "Tuesday": "thứ Ba",
    "Wednesday": "thứ Tư",
    "Thursday": "thứ Năm",
    "Friday": "thứ Sáu",
    "Saturday": "thứ Bảy",
    "January": "tháng 1",
    "February": "tháng 2",
    "March": "tháng 3",
    "April": "tháng 4",
    "May": "tháng 5",
    "June": "tháng 6",
    "July": "tháng 7",
    "August": "tháng 8",
    "September": "tháng 9",
    "October": "tháng 10",
    "November": "tháng 11",
    "December": "tháng 12",
    "Deploys": "Bản triển khai",
    "Last deploy": "Triển khai gần nhất",
    "Since the last deploy": "Từ lần triển khai gần nhất",
    "No class has run often enough before and after it: {count} times on each side.": (
        "Chưa lớp nào chạy đủ nhiều trước và sau đó: mỗi bên {count} lần."
    ),
    "No failure rate and no p95 has moved beyond chance. Classes compared: {count}.": (
        "Không tỉ lệ lỗi hay p95 nào thay đổi quá mức ngẫu nhiên. Số lớp đã so sánh: {count}."
    ),
    "Classes compared: {count}.": "Số lớp đã so sánh: {count}.",
    "What moved": "Thay đổi",
    "Before": "Trước",
    "Since": "Từ đó",
    "▲ fails more": "▲ lỗi nhiều hơn",
    "▼ fails less": "▼ lỗi ít hơn",
    "▲ slower, by its p95": "▲ chậm hơn, theo p95",
    "▼ faster, by its p95": "▼ nhanh hơn, theo p95",
    "Copy": "Sao chép",
    "Copy as {name}": "Sao chép dạng {name}",
    "To copy by hand: Python, JSON, curl": "Để tự sao chép: Python, JSON, curl",
    "Secrets are hidden, or it is too long: these copies are not complete.": (
        "Có phần bí mật đã che, hoặc nội dung quá dài: các bản sao này không đầy đủ."
    ),
    "TOKEN is a token of this dashboard, DASHBOARD its address, such as https://ops.example.com.": (
        "TOKEN là mã truy cập của trang này, DASHBOARD là địa chỉ của nó, chẳng hạn https://ops.example.com."
    ),
    "The job is too large to be shown whole: … stands for the rest.": (
        "Công việc quá lớn để hiện hết: … thay cho phần còn lại."
    ),
    "The cause is muted until it has more jobs.": "Đã tắt tiếng nguyên nhân này cho đến khi nó có thêm công việc.",
    "The cause is not muted any more.": "Nguyên nhân này không còn bị tắt tiếng.",
    "a cause is muted": "một nguyên nhân đã bị tắt tiếng",
    "The first failed {time} after the deploy {label}": "Lỗi đầu tiên {time} sau khi triển khai {label}",
    "Of those looked at the first failed {time} after the deploy {label}": (
        "Trong số đã xem, lỗi đầu tiên {time} sau khi triển khai {label}"
    ),
    "Muted with {count} jobs": "Đã tắt tiếng khi có {count} công việc",
    "Was muted with {count} jobs, and has changed since": "Từng bị tắt tiếng khi có {count} công việc, nay đã thay đổi",
    "by {name}": "bởi {name}",
    "Mute until it grows": "Tắt tiếng cho đến khi tăng",
    "Unmute": "Bật tiếng lại",
    "Muted: {count}, at the end.": "Đã tắt tiếng: {count}, ở cuối.",
    "When they run": "Khi nào chúng chạy",
    "When they died": "Khi nào chúng chết",
    "Next 24 hours": "24 giờ tới",
    "Last 24 hours": "24 giờ qua",
    "Next 30 days": "30 ngày tới",
    "Last 30 days": "30 ngày qua",
    "most at once {count}": "nhiều nhất {count}",
    "By time, as a table": "Theo thời gian, dạng bảng",
    "before that": "trước đó",
    "after that": "sau đó",
    "Pushed as a new job:": "Đã đẩy thành công việc mới:",
    "Edit and run as a new job": "Sửa và chạy thành công việc mới",
    "Edited from": "Được sửa từ",
    "Edited into": "Đã sửa thành",
    "Arguments, a JSON array": "Đối số, một mảng JSON",
    "Keyword arguments, a JSON object": "Đối số theo tên, một đối tượng JSON",
    "And delete this one": "Và xoá công việc này",
    "Run as a new job": "Chạy thành công việc mới",
    "It is no job, so it cannot be edited.": "Đây không phải công việc nên không sửa được.",
    "It is larger than 256 kB, so it is not edited here.": "Nó lớn hơn 256 kB nên không sửa ở đây được.",
    "Rails has encoded its arguments, so they are not edited here.": "Rails đã mã hoá đối số nên không sửa ở đây được.",
    "It runs as a new job with an id of its own. Class, queue and options stay as they are; failures are forgotten.": (
        "Nó chạy thành công việc mới với mã riêng. Lớp, hàng đợi và tùy chọn giữ nguyên; các lần thất bại được bỏ qua."
    ),
    "It holds secrets, which are hidden here, so it is not edited.": (
        "Nó có phần bí mật đã bị che ở đây nên không sửa được."
    ),
    "The job is gone: it has run, or somebody has changed or moved it. Nothing was pushed.": (
        "Công việc không còn nữa: nó đã chạy, hoặc ai đó đã sửa hay chuyển nó. Chưa đẩy gì cả."
    ),
    "Columns of this list": "Cột của danh sách này",
    "Cancel job…": "Huỷ công việc…",
    "Cancel this job": "Huỷ công việc này",
    "Let it run": "Để nó chạy tiếp",
    "which has run for {time} in {process}": "đã chạy {time} trong {process}",
    "interrupted, and has not ended yet": "đã bị ngắt nhưng chưa kết thúc",
    "Asked to cancel it: it is interrupted with the next heartbeat of its process.": (
        "Đã yêu cầu huỷ: công việc bị ngắt ở nhịp tim tới của tiến trình."
    ),
    "With the next heartbeat its thread is interrupted, between two lines of Python. A call that waits, such as one "
    "of the network without a time limit, is not cut short: then the job ends when that call returns.": (
        "Ở nhịp tim tới, luồng của công việc bị ngắt giữa hai dòng Python. Một lời gọi đang chờ, như gọi mạng không có "
        "giới hạn thời gian, không bị cắt ngang: khi đó công việc chỉ kết thúc lúc lời gọi ấy trả về."
    ),
    "It goes to the dead set with the error JobCancelled, and is not retried. From there it can be run again.": (
        "Công việc chuyển sang tập đã chết với lỗi JobCancelled và không được thử lại. Từ đó có thể chạy lại."
    ),
    "The curves show memory and processor of the last {time}, from 0 up to the greatest.": (
        "Đường nhỏ là bộ nhớ và bộ xử lý trong {time} qua, từ 0 đến mức cao nhất."
    ),
    "Memory in the last {time}": "Bộ nhớ trong {time} qua",
    "Processor in the last {time}": "Bộ xử lý trong {time} qua",
    "{least} to {most} in the last {time}": "{least} đến {most} trong {time} qua",
    "They take no more jobs until they are resumed; those of Sidekiq until they are restarted.": (
        "Chúng không nhận thêm công việc cho đến khi được cho tiếp tục; với Sidekiq là đến khi khởi động lại."
    ),
    "They take jobs again. Left out is what was made quiet on its machine: jobd ctl resume ends that.": (
        "Chúng nhận việc trở lại. Không gồm tiến trình bị ngừng ngay trên máy của nó: hãy dùng jobd ctl resume tại đó."
    ),
    "It was made quiet on its machine, or is about to end. Only jobd ctl resume there has it take jobs again.": (
        "Tiến trình bị ngừng ngay trên máy của nó, hoặc sắp kết thúc. Chỉ jobd ctl resume tại đó cho nó nhận việc lại."
    ),
    "Told to take jobs again, with the next heartbeat.": "Đã báo nhận việc trở lại, từ nhịp tim tới.",
    "Show as": "Hiển thị dạng",
    "List": "Danh sách",
    "Tree": "Cây",
    "In /s": "Vào /s",
    "Out /s": "Ra /s",
    "Last hour": "Giờ vừa qua",
    "Empty in": "Hết sau",
    "Failed, last hour": "Lỗi, giờ vừa qua",
    "Consumers": "Bên nhận",
    "about {time}": "khoảng {time}",
    "grows": "đang tăng",
    "does not shrink": "không giảm",
    "{count} queues": "{count} hàng đợi",
    "no figures yet": "chưa có số liệu",
    "{change} a second in all": "tổng cộng {change} mỗi giây",
    "{processes} × {threads}": "{processes} × {threads}",
    "{processes}, threads: {threads}": "{processes}, số luồng: {threads}",
    "weight {weight}": "trọng số {weight}",
    "paused: {count}": "tạm dừng: {count}",
    "In and out are those of the last minute.": "Vào và ra là của phút vừa qua.",
    "Processes of Sidekiq do not count what they take: of their queues only the change of the size is known.": (
        "Tiến trình Sidekiq không đếm những gì chúng lấy ra: hàng đợi của chúng chỉ biết kích thước thay đổi ra sao."
    ),
    "Paused: {moved}.": "Đã tạm dừng: {moved}.",
    "Resumed: {moved}.": "Đã cho chạy lại: {moved}.",
    "Jobs that wait": "Công việc đang chờ",
    "Came": "Đã vào",
    "Taken": "Đã lấy ra",
    "Came, taken and failed, each {time}": "Đã vào, đã lấy ra và lỗi, mỗi {time}",
    "No figures yet: they are recorded while a process of jobd runs.": (
        "Chưa có số liệu: chúng được ghi lại khi có tiến trình jobd chạy."
    ),
    "In {came} /s, out {went} /s.": "Vào {came} /s, ra {went} /s.",
    "Empty in:": "Hết sau:",
    "Failed in the last hour: {share}": "Lỗi trong giờ vừa qua: {share}",
    "Move to the front": "Đưa lên đầu",
    "Move to queue": "Chuyển sang hàng đợi",
    "Enqueue again": "Đưa vào lần nữa",
    "The other queue": "Hàng đợi kia",
    "Moved to the front: {moved}.": "Đã đưa lên đầu: {moved}.",
    "Moved to the other queue: {moved}.": "Đã chuyển sang hàng đợi kia: {moved}.",
    "Enqueued again: {moved}.": "Đã đưa vào lần nữa: {moved}.",
    "The line shows what was taken in each six minutes of the last hour, the shade what came.": (
        "Đường là số đã lấy ra trong mỗi sáu phút của giờ vừa qua, phần tô là số đi vào."
    ),
    "Check": "Kiểm tra",
    "Description": "Mô tả",
    "Edit": "Sửa",
    "Edit {name}": "Sửa {name}",
    "Empty: UTC": "Để trống: UTC",
    "I know that this is set back": "Tôi biết rằng thay đổi này sẽ bị đặt lại",
    "Make the entry": "Tạo mục lịch",
    "Minute, hour, day, month, weekday: 0 8 * * mon-fri; or @daily, @every 90s": (
        "Phút, giờ, ngày, tháng, thứ: 0 8 * * mon-fri; hoặc @daily, @every 90s"
    ),
    "New cron entry": "Mục lịch mới",
    "New entry": "Mục mới",
    "Nothing is different from what is saved.": "Không có gì khác với bản đã lưu.",
    "Now": "Hiện nay",
    "Save the entry": "Lưu mục lịch",
    "Schedule": "Lịch",
    "The entry is made.": "Đã tạo mục lịch.",
    "The entry is saved.": "Đã lưu mục lịch.",
    "The time of the tick as a further argument": "Thêm thời điểm chạy làm tham số cuối",
    "Then": "Sau đó",
    "What changes": "Thay đổi",
    "no": "không",
    "yes": "có",
    "“Check” says when it runs, and what is odd about it. Nothing is saved by that.": (
        "“Kiểm tra” cho biết khi nào mục này chạy và có gì lạ. Việc đó không lưu gì cả."
    ),
    "It holds secrets, which are hidden here, so it stays as it is.": (
        "Phần này chứa bí mật, được ẩn ở đây, nên giữ nguyên như cũ."
    ),
    "sidekiq-cron made the entry: this is changed there.": "sidekiq-cron đã tạo mục này: hãy sửa phần này ở đó.",
    "It stands in the code: each process that starts with it, also after a crash, sets it back.": (
        "Mục này nằm trong mã: mỗi tiến trình worker có nó khi khởi động, kể cả sau sự cố, sẽ đặt lại mục này."
    ),
    "It stands in a configuration: each process that starts with it, also after a crash, sets it back.": (
        "Mục này nằm trong cấu hình: mỗi tiến trình worker có nó khi khởi động, kể cả sau sự cố, sẽ đặt lại mục này."
    ),
    "A program made it: if that loads its entries anew, it sets it back.": (
        "Một chương trình đã tạo mục này: nếu nó nạp lại các mục của mình, mục này sẽ bị đặt lại."
    ),
    "the dashboard": "trang quản trị này",
    "Only whether it is enabled stays as it is.": "Chỉ trạng thái bật hay tắt được giữ nguyên.",
    "sidekiq-cron made it: if a schedule file of Ruby holds it, it is set back when Ruby starts.": (
        "sidekiq-cron đã tạo mục này: nếu tệp lịch của Ruby có nó, nó sẽ bị đặt lại khi Ruby khởi động."
    ),
    "Tick that you know that this is set back, or change it where it stands.": (
        "Hãy đánh dấu là bạn biết thay đổi này sẽ bị đặt lại, hoặc sửa ở nơi mục này được viết."
    ),
    "Somebody has changed the entry meanwhile, so nothing was saved. Look at the differences, and save again.": (
        "Có người vừa thay đổi mục này, nên chưa lưu gì cả. Hãy xem các điểm khác rồi lưu lại."
    ),
    "It is disabled: it does not run until it is enabled.": "Mục đang tắt: nó không chạy cho tới khi được bật.",
    "It runs more often than once a minute.": "Mục chạy nhiều hơn một lần mỗi phút.",
    "No process takes jobs from the queue {queue} now.": (
        "Hiện không có tiến trình nào lấy công việc từ hàng đợi {queue}."
    ),
    "No job of this class ran in the last hour, and no other entry has it: is its name right?": (
        "Trong giờ qua không có công việc nào của lớp này chạy, và không mục nào khác dùng nó: tên có đúng không?"
    ),
    "Its own options, such as retries, are not known here: it is pushed with those that hold by default.": (
        "Ở đây không biết tuỳ chọn riêng của nó, như số lần thử lại: nó được đẩy với các tuỳ chọn mặc định."
    ),
    "The run that was to be skipped is forgotten, as the schedule is another one.": (
        "Lần chạy cần bỏ qua sẽ bị quên, vì lịch đã khác."
    ),
    "Queue {queue}: the next job has waited {seconds}, its limit is {limit_seconds}.": (
        "Hàng đợi {queue}: công việc kế tiếp đã chờ {seconds}, ngưỡng là {limit_seconds}."
    ),
    "Queue {queue} holds {count} jobs, its limit is {limit}.": (
        "Hàng đợi {queue} giữ {count} công việc, ngưỡng là {limit}."
    ),
    "over its limit of {time}": "vượt ngưỡng {time}",
    "over its limit of {count} jobs": "vượt ngưỡng {count} công việc",
    "over a limit: {count}": "vượt ngưỡng: {count}",
    "over its limit": "vượt ngưỡng",
    "Alert limits: the next job may wait {time}, jobs that may wait: {count}": (
        "Ngưỡng cảnh báo: công việc kế tiếp được chờ {time}, số công việc được chờ: {count}"
    ),
    "An alert limit of this queue is damaged, and the default holds instead. Set it again.": (
        "Một ngưỡng cảnh báo của hàng đợi này bị hỏng, nên giá trị mặc định được dùng thay. Hãy đặt lại."
    ),
    "The next job may wait": "Công việc kế tiếp được chờ",
    "Jobs that may wait": "Số công việc được chờ",
    "default: {value}": "mặc định: {value}",
    "Set alert limits": "Đặt ngưỡng cảnh báo",
    "The alert limits are set.": "Đã đặt ngưỡng cảnh báo.",
    "A time such as 90s, 5m or 1h, and a whole number; none for never; nothing for the default. What is over its "
    "limit is pointed out; no job changes.": (
        "Một khoảng thời gian như 90s, 5m hoặc 1h, và một số nguyên; none là không bao giờ; để trống là mặc định. "
        "Những gì vượt ngưỡng sẽ được chỉ ra; không công việc nào thay đổi."
    ),
    "Queues whose next job has waited longer than its limit, besides: {count}.": (
        "Các hàng đợi khác cũng có công việc chờ lâu hơn ngưỡng: {count}."
    ),
    "Queues that hold more jobs than their limit, besides: {count}.": (
        "Các hàng đợi khác cũng giữ nhiều công việc hơn ngưỡng: {count}."
    ),
    "Set threads": "Đặt số luồng",
    "Change the number of threads": "Đổi số luồng",
    "Threads of {capsule}": "Số luồng của {capsule}",
    "Told to have so many threads, with the next heartbeat.": "Đã yêu cầu số luồng này, từ nhịp tim kế tiếp.",
    "It holds until this process ends: a new one has the configured number again. Threads that are too many end "
    "when their job has; none is interrupted. All together: {count} at most.": (
        "Có hiệu lực đến khi tiến trình này kết thúc: tiến trình mới lại có số luồng đã cấu hình. Luồng thừa sẽ dừng "
        "khi công việc của nó xong; không luồng nào bị ngắt. Tổng cộng nhiều nhất: {count}."
    ),
    "Show hidden values": "Hiện các giá trị đã che",
    "It is recorded who looked at them.": "Ai đã xem sẽ được ghi lại.",
    "Hidden values are shown here. It is recorded that you looked at them.": (
        "Các giá trị đã che đang hiện ở đây. Việc bạn xem đã được ghi lại."
    ),
    "Hide them again": "Che lại",
    "show the job beside the list, or close it": "xem công việc bên cạnh danh sách, hoặc đóng lại",
    "Peek": "Xem nhanh",
    "Open its page": "Mở trang riêng",
    "Drag over bars to find their jobs.": "Kéo qua các cột để tìm công việc của chúng.",
    "Shift and Enter on a time, Enter on another: all between.": (
        "Shift và Enter ở giờ đầu, Enter ở giờ cuối: cả khoảng."
    ),
    "You may not do this here: {action}. You may change only what is of these queues: {queues}.": (
        "Bạn không được làm việc này ở đây: {action}. Bạn chỉ được thay đổi những gì thuộc các hàng đợi: {queues}."
    ),
    "Your queues: {queues}": "Hàng đợi của bạn: {queues}",
    "Only jobs of your queues are meant: {queues}.": "Chỉ áp dụng cho công việc thuộc hàng đợi của bạn: {queues}.",
    "Left, as they are of other queues than yours: {left}.": "Để lại vì thuộc hàng đợi không phải của bạn: {left}.",
    "only of the queues {queues}": "chỉ của các hàng đợi {queues}",
    "of other queues: {count}": "thuộc hàng đợi khác: {count}",
    "Undo": "Hoàn tác",
    "Put back": "Đưa trở lại",
    "Put back: {moved}.": "Đã đưa trở lại: {moved}.",
    "Left to be put back: {count}.": "Còn có thể đưa trở lại: {count}.",
    "For an hour they can be put back, the first {most} of them, up to {size}.": (
        "Trong một giờ có thể đưa chúng trở lại: {most} công việc đầu tiên, tối đa {size}."
    ),
    "They come back at the times that they had: a retry that is due runs at once. In a queue they come last.": (
        "Chúng trở lại với thời điểm cũ: lần thử lại đã đến hạn sẽ chạy ngay. Trong hàng đợi chúng đứng cuối."
    ),
    "Of these for good, as there was no room to keep them: {final}.": "Trong đó xoá hẳn vì không còn chỗ giữ: {final}.",
    "For good, without room to keep them": "Xoá hẳn vì không còn chỗ giữ",
    "for good: {count}": "xoá hẳn: {count}",
    "From when a job was enqueued, or came back as a retry, until it began to run. Each range is half as wide again "
    "as the one before: a percentile is off by a quarter at most.": (
        "Tính từ khi công việc vào hàng đợi, hoặc trở lại để thử lại, đến khi bắt đầu chạy. Mỗi khoảng rộng gấp rưỡi "
        "khoảng trước nó: bách phân vị sai lệch nhiều nhất một phần tư."
    ),
    "Nothing is known of this period. Processes of jobd count it, those of Sidekiq do not.": (
        "Không có số liệu cho khoảng thời gian này. Tiến trình của jobd có đếm, tiến trình của Sidekiq thì không."
    ),
    "Up to": "Đến",
    "more than {time}": "hơn {time}",
    "Wait p95": "Chờ, p95",
    "ended well": "kết thúc tốt",
    "failed, to be retried": "lỗi, sẽ thử lại",
    "put off": "được dời lại",
    "not begun in time": "không bắt đầu kịp hạn",
    "failed, not retried": "lỗi, không thử lại",
    "dead": "chết",
    "its retry was due, how it ended is not known": "đã đến hạn thử lại, không rõ kết thúc ra sao",
    "not ended, or not known": "chưa kết thúc, hoặc không rõ",
    "pushed": "đã đẩy",
    "How its job ended": "Công việc kết thúc ra sao",
    "Cron entry {name}: its last run that has ended failed for good.": (
        "Mục lịch {name}: lần chạy gần nhất đã kết thúc bị lỗi hẳn."
    ),
    "Cron entries besides whose last run failed for good: {count}.": (
        "Ngoài ra còn mục lịch có lần chạy gần nhất bị lỗi hẳn: {count}."
    ),
    "Sort processes by": "Xếp tiến trình theo",
    "longest running job": "công việc chạy lâu nhất",
    "The jobs of the {count} processes on this page, the longest running first; the first page has those that run "
    "longest of all.": (
        "Công việc của {count} tiến trình ở trang này, chạy lâu nhất trước; trang đầu có những công việc chạy lâu nhất "
        "trong tất cả."
    ),
    "The jobs of the {count} processes on this page, and of {more} besides with the longest running ones of all.": (
        "Công việc của {count} tiến trình ở trang này, và của {more} tiến trình khác có công việc chạy lâu nhất trong "
        "tất cả."
    ),
    "The class is looked for in these only.": "Chỉ tìm lớp trong những công việc đó.",
    "Processes whose running jobs are read only with the next look: {count}.": (
        "Số tiến trình mà lần xem sau mới đọc các công việc đang chạy: {count}."
    ),
    "Processes elsewhere, such as those of Ruby, that do not tell how long their jobs have run: {count}.": (
        "Số tiến trình khác, như của Ruby, không cho biết công việc đã chạy bao lâu: {count}."
    ),
    "No job of this class runs in the processes that were looked at.": (
        "Không có công việc nào của lớp này chạy trong các tiến trình đã xem."
    ),
    "None of these processes runs a job.": "Không tiến trình nào trong số này chạy công việc.",
    "over {time}": "quá {time}",
    "over {count} jobs": "quá {count} công việc",
    "then {count} more over about {time}, by the usual waits": (
        "rồi thêm {count} lần nữa trong khoảng {time}, theo thời gian chờ thông thường"
    ),
    "Columns that have no room here are left out; a wider window shows them.": (
        "Các cột không đủ chỗ được lược bớt; cửa sổ rộng hơn sẽ hiện chúng."
    ),
    "Rows": "Hàng",
    "usual": "thường",
    "compact": "sít",
    "roomy": "thoáng",
}
