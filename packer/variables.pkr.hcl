variable "image_version" {
  type        = string
  description = "Version of the image; a tag of the AMI and part of its name."
  validation {
    condition     = can(regex("^[0-9A-Za-z][0-9A-Za-z.+-]{0,40}$", var.image_version))
    error_message = "The image_version must be letters, digits, dots, plus and minus signs, such as 1.2.0."
  }
}

variable "inventory" {
  type        = string
  description = "Directory below inventories/ whose image.yml holds the values for Ansible."
  default     = "production"
  validation {
    condition     = can(regex("^[a-z0-9_-]+$", var.inventory))
    error_message = "The inventory is the name of a directory below inventories/, such as production."
  }
}

variable "git_commit" {
  type        = string
  description = "Commit that the image is built from."
  default     = "unknown"
}

variable "region" {
  type        = string
  description = "Region in which the image is built and kept."
  default     = "eu-west-1"
}

variable "architecture" {
  type        = string
  description = "Architecture of the image: arm64 or amd64."
  default     = "arm64"
  validation {
    condition     = contains(["arm64", "amd64"], var.architecture)
    error_message = "The architecture must be arm64 or amd64."
  }
}

variable "instance_type" {
  type        = string
  description = "Type of the builder; one of the image's architecture."
  default     = "m7g.medium"
}

variable "postgres_major" {
  type        = number
  description = "Major version of PostgreSQL in the image: 15, 16 or 17."
  default     = 16
  validation {
    condition     = contains([15, 16, 17], var.postgres_major)
    error_message = "The postgres_major must be 15, 16 or 17."
  }
}

variable "source_ami_name" {
  type        = string
  description = "Exact name of the base AMI."
  validation {
    condition     = can(regex("^[^*?]+$", var.source_ami_name))
    error_message = "The source_ami_name must be the exact name of one AMI. Run packer/pin.py to pin the newest."
  }
}

variable "source_ami_owner" {
  type        = string
  description = "Account that owns the base AMI: 136693071363 is Debian's, 137112412989 is Amazon's."
  validation {
    condition     = can(regex("^[0-9]{12}$", var.source_ami_owner))
    error_message = "The source_ami_owner must be an account id of 12 digits."
  }
}

variable "ssh_username" {
  type        = string
  description = "The base AMI's user: ec2-user on Amazon Linux, admin on Debian."
  default     = "ec2-user"
}

variable "builder_cidrs" {
  type        = list(string)
  description = "Networks that may reach the builder over SSH while it runs; empty is this machine's public address."
  default     = []
}

variable "root_volume_gib" {
  type        = number
  description = "Size of the root volume in GiB."
  default     = 10
}

variable "kms_key_id" {
  type        = string
  description = "KMS key of the root volume; null is the account's default key for EBS."
  default     = null
}

variable "custom_endpoint_ec2" {
  type        = string
  description = "Address of the EC2 API where it is not the region's own and AWS_ENDPOINT_URL does not say it."
  default     = null
}

variable "skip_create_ami" {
  type        = bool
  description = "Stop before the AMI is made: a pull request proves that it would bake."
  default     = false
}

variable "polling_seconds" {
  type        = number
  description = "Seconds between two looks at what AWS is doing; the waiting ends after half an hour."
  default     = 5
}
