# What differs when the image is baked in the lab. Endpoint and credentials come from the environment.
inventory        = "lab"
architecture     = "amd64"
instance_type    = "m7i.large"
source_ami_name  = "debian-13-amd64-20260101-0000"
source_ami_owner = "136693071363"
ssh_username     = "admin"
builder_cidrs    = ["127.0.0.0/8"]
postgres_major   = 17
polling_seconds  = 1
