"""jobd beside other frameworks. Each module needs the framework that it is named after, and nobody imports them all."""
