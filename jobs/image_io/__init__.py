"""Picture files with their metadata: JPEG, PNG, WebP, TIFF."""
