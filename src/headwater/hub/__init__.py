"""Floor 5: the Hugging Face protocol over HTTP. Routes are rows of one table (`routes.py`)."""
