//! The source without a cluster: a folder of YAML and JSON files, read strictly and followed.
