# Written by packer/pin.py, by nothing else: the base image, by its exact name.
# Not pinned yet: run `python packer/pin.py amazon-linux-2023 arm64` with credentials, and commit what it writes.
source_ami_name  = ""
source_ami_owner = "137112412989"
