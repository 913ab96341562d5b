"""Parts of other distributions that we know of: `catalogue.json` says what pip is given for each. Nothing is imported."""
