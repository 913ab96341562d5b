"""Ways of combining what is drawn with and without the conditions."""
