"""Weight files of other people: their formats, and their names for the layers of a ResNet."""
