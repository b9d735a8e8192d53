"""The mailing: one job for the newsletter, which pushes one for each user."""

from __future__ import annotations

import os
import smtplib
from email.message import EmailMessage

import jobd

import database

HOST = os.environ.get("SMTP_HOST", "127.0.0.1")
PORT = int(os.environ.get("SMTP_PORT", "8025"))


@jobd.job(queue="newsletters")
def send_newsletter(newsletter_id: int) -> None:
    """Push a job for each user who has not got it, so that one bad address holds up nobody else."""
    send_mail.perform_bulk((newsletter_id, user_id) for user_id in database.unsent(newsletter_id))


@jobd.job(queue="mail", retry=2)
def send_mail(newsletter_id: int, user_id: int) -> None:
    """Send one mail, if it has not been sent. What the server refuses three times goes to the dead set.

    Raises `smtplib.SMTPException` when the server refuses it, `OSError` when there is none.
    """
    mail = database.mail(newsletter_id, user_id)
    if mail is None:
        return
    # Named, or smtplib asks the DNS for the name of this host, each time.
    with smtplib.SMTP(HOST, PORT, local_hostname="localhost", timeout=10) as server:
        server.send_message(message(newsletter_id, user_id, mail["address"], mail["subject"]))
    database.note_sent(newsletter_id, user_id)


def message(newsletter_id: int, user_id: int, address: str, subject: str) -> EmailMessage:
    """The mail. Its id is the same at each attempt, so that a mail program can tell a second copy."""
    mail = EmailMessage()
    mail["From"] = "news@example.com"
    mail["To"] = address
    mail["Subject"] = subject
    mail["Message-ID"] = f"<newsletter-{newsletter_id}-user-{user_id}@example.com>"
    mail.set_content(f"Dear user {user_id},\n\nthere is news: {subject}.\n")
    return mail
