"""Questions put to jaxcnn, one in each file, and their answers in `results`."""
