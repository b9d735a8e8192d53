"""The `jobd` command and what stands behind it: configuration, the master and its children."""
