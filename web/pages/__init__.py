"""The pages: each reads what it shows in two round trips at most, and carries out the changes made there."""
