"""All the doors to other people: the static site, an example server, the class."""
