"""Views draw the words they are handed; they fetch nothing."""
