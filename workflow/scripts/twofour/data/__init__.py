"""From folders and archives of images to checked lists and normalised batches."""
