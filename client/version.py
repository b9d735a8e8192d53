"""The version of jobd, in one place."""

VERSION = "1.0.0.dev1"
