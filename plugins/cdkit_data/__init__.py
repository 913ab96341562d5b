"""Pictures with what is said of them."""
