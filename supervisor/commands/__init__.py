"""Sub-commands of `jobd`, a file each. What they need beyond click is imported when they run: `jobd -V` stays quick."""
