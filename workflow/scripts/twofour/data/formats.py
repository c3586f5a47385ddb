"""The formats of images that training can use."""

# What DALI's decoders read, and the extensions that belong to each format (Pillow's names).
EXTENSIONS = {
    "JPEG": {".jpg", ".jpeg", ".jpe", ".jfif"},
    "MPO": {".jpg", ".jpeg", ".mpo"},  # several JPEGs in one file, as phones write them
    "PNG": {".png"},
    "BMP": {".bmp"},
    "WEBP": {".webp"},
    "TIFF": {".tif", ".tiff"},
    "PPM": {".ppm", ".pgm", ".pbm", ".pnm"},
    "JPEG2000": {".jp2"},
}
KNOWN_EXTENSIONS = frozenset().union(*EXTENSIONS.values())
