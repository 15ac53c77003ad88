build {
  name    = "zmanim"
  sources = ["source.amazon-ebs.zmanim"]

  # Provision, verify, clean, validate: ansible/image.yml is all four, over one connection.
  provisioner "ansible" {
    playbook_file = "${path.root}/../ansible/image.yml"
    user          = var.ssh_username
    use_proxy     = false
    ansible_env_vars = [
      "ANSIBLE_CONFIG=${abspath("${path.root}/../ansible.cfg")}",
      # The builder is a minute old; no one knows its host key yet.
      "ANSIBLE_HOST_KEY_CHECKING=false",
      "ANSIBLE_FORCE_COLOR=false",
    ]
    extra_arguments = [
      "--extra-vars=@${abspath("${path.root}/../inventories/${var.inventory}/image.yml")}",
      "--extra-vars=image_version=${var.image_version}",
      "--extra-vars=image_git_commit=${var.git_commit}",
      "--extra-vars=image_postgres_major=${var.postgres_major}",
      "--extra-vars=image_report_dir=${local.report_dir}",
    ]
  }

  # From outside Ansible, over the connection that is still open: the image's first test.
  provisioner "shell" {
    inline_shebang = "/bin/sh -eu"
    inline = [
      "test -e /etc/machine-id && test ! -s /etc/machine-id",
      "test -z \"$(find /etc/ssh /root /home -name 'ssh_host_*' -o -name authorized_keys 2>/dev/null)\"",
      "test -z \"$(ls -A /data)\"",
    ]
  }

  post-processor "manifest" {
    output     = "${local.report_dir}/manifest.json"
    strip_path = true
    custom_data = {
      version        = var.image_version
      postgres_major = var.postgres_major
      architecture   = var.architecture
      git_commit     = var.git_commit
      source_ami     = var.source_ami_name
    }
  }
}
