"""Measurements of jobd, beside peers and floors; `python -m bench --help`."""
