"""Published architectures and figures (JSON, CSV), and the catalogue that reads them."""
