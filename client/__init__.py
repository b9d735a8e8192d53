"""What a web application needs: define, push and look at jobs. Opens nothing when imported."""
