# The image for production: Amazon Linux 2023 on Graviton. packer/pins.auto.pkrvars.hcl names the base AMI.
inventory      = "production"
region         = "eu-west-1"
architecture   = "arm64"
instance_type  = "m7g.medium"
postgres_major = 16
ssh_username   = "ec2-user"
