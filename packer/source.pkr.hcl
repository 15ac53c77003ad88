packer {
  required_version = ">= 1.15.0"
  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = "= 1.8.2"
    }
    ansible = {
      source  = "github.com/hashicorp/ansible"
      version = "= 1.0.0"
    }
  }
}

locals {
  ami_name   = "zmanim-${var.image_version}-pg${var.postgres_major}-${var.architecture}-${formatdate("YYYYMMDD-hhmmss", timestamp())}"
  report_dir = abspath("${path.root}/../build/image")
  tags = {
    Name          = local.ami_name
    Project       = "zmanim"
    Version       = var.image_version
    PostgresMajor = var.postgres_major
    Architecture  = var.architecture
    GitCommit     = var.git_commit
    SourceAmi     = "{{ .SourceAMI }}"
    SourceAmiName = "{{ .SourceAMIName }}"
  }
}

source "amazon-ebs" "zmanim" {
  region              = var.region
  custom_endpoint_ec2 = var.custom_endpoint_ec2
  ami_name            = local.ami_name
  ami_description     = "zmanim ${var.image_version}, PostgreSQL ${var.postgres_major}, ${var.architecture}"
  skip_create_ami     = var.skip_create_ami
  instance_type       = var.instance_type

  # One name, not a pattern: pins.auto.pkrvars.hcl says which, packer/pin.py changes it.
  source_ami_filter {
    owners = [var.source_ami_owner]
    filters = {
      name                = var.source_ami_name
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
  }

  # The volume is encrypted from its first block, so that no unencrypted snapshot ever exists.
  launch_block_device_mappings {
    device_name           = "/dev/xvda"
    volume_size           = var.root_volume_gib
    volume_type           = "gp3"
    encrypted             = true
    kms_key_id            = var.kms_key_id
    delete_on_termination = true
  }

  imds_support = "v2.0"
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  communicator                              = "ssh"
  ssh_username                              = var.ssh_username
  ssh_timeout                               = "5m"
  temporary_key_pair_type                   = "ed25519"
  associate_public_ip_address               = true
  temporary_security_group_source_cidrs     = length(var.builder_cidrs) > 0 ? var.builder_cidrs : null
  temporary_security_group_source_public_ip = length(var.builder_cidrs) == 0

  aws_polling {
    delay_seconds = var.polling_seconds
    max_attempts  = ceil(1800 / var.polling_seconds)
  }

  tags            = local.tags
  snapshot_tags   = local.tags
  run_tags        = { Name = "bake-${local.ami_name}", Project = "zmanim" }
  run_volume_tags = { Name = "bake-${local.ami_name}", Project = "zmanim" }
}
