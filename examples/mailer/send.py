"""Write a newsletter and have it sent: `python send.py [SUBJECT]`."""

from __future__ import annotations

import os
import sys

import jobd

import database
import jobs


def main(subject: str) -> None:
    """Save the newsletter, then push its job."""
    # The store of config.yml, unless a variable names another: jobd lets the same variables win.
    jobd.configure(redis_url=os.environ.get("JOBD_REDIS_URL") or os.environ.get("REDIS_URL") or "embedded:var/jobd")
    database.create()
    newsletter_id = database.add_newsletter(subject)
    jobs.send_newsletter.perform_async(newsletter_id)
    print(f"newsletter {newsletter_id} goes to {database.USERS} users")


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]) or "Hello")
