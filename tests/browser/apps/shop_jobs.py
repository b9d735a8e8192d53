"""Jobs of a shop for the tests in a browser: one that ends well, one for each other fate, and one that runs on."""

from __future__ import annotations

import os
import threading
from datetime import timedelta
from pathlib import Path

import jobd

RELEASE = "JOBD_TEST_RELEASE"
"""The variable that names a file; once it exists, jobs that run on end."""


class CardDeclined(Exception):
    """The bank refused."""


class StockServiceDown(ConnectionError):
    """The warehouse did not answer."""


@jobd.job(name="ResizeImage", queue="default")
def resize_image(product: int, width: int) -> None:
    """Ends well."""


@jobd.job(name="ChargeCard", queue="payments", retry=5, backtrace=10, tags=["money"])
def charge_card(order: int, *, card_token: str) -> None:
    """Fails, and waits for its retry."""
    raise CardDeclined(f"order {order}: the bank refused; api_key={card_token}")


@charge_card.retry_in
def in_an_hour(count: int, error: BaseException, job: jobd.RunningJob) -> timedelta:
    """Not during a test."""
    return timedelta(hours=1)


@jobd.job(name="SyncStock", queue="default", retry_on=[jobd.RetryOn(StockServiceDown, wait=0.01, jitter=0)])
def sync_stock(product: int) -> None:
    """Fails the first time, and ends well after its retry."""
    if jobd.current_job().attempt == 1:
        raise StockServiceDown("warehouse-2 did not answer within 5 s")


@jobd.job(name="SendReceipt", queue="mailers", retry=0)
def send_receipt(order: int, address: str) -> None:
    """Dies at once."""
    raise ValueError(f"{address!r} is no address")


@jobd.job(name="ImportCatalogue", queue="default")
def import_catalogue(supplier: str) -> None:
    """Runs on until it is released."""
    while not Path(os.environ[RELEASE]).exists():
        threading.Event().wait(0.05)


@jobd.job(name="BuildReport", queue="reports")
def build_report(month: str) -> None:
    """Its queue is paused."""


@jobd.job(name="SendReminder", queue="mailers")
def send_reminder(customer: int) -> None:
    """Comes later."""
