"""One process that runs jobs: it fetches them, runs them in threads, settles what became of them, and shows itself."""
