"""RecordIO files of pictures: format, packing, reading. Knows numpy and OpenCV, neither mxnet nor recipes."""
