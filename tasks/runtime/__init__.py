"""What every job stands on: storage, manifests, parts, the Ray cluster and progress."""
