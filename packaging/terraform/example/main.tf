# An example of the module beside this folder: a delivery stream for each application, and a role for the instances that run
# standpipe, which may write into all of them. To be copied and changed; `source` is then where the module lies.
#
#   $ terraform -chdir=packaging/terraform/example init
#   $ AWS_REGION=eu-central-1 terraform -chdir=packaging/terraform/example apply
#   $ terraform -chdir=packaging/terraform/example output -raw standpipe_configuration
#
# prints what belongs into /etc/standpipe/standpipe.toml.

terraform {
  required_version = ">= 1.3"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "applications" {
  type        = map(string)
  default     = { shop = "/var/log/shop/*.log", mail = "/var/log/mail/*.log" }
  description = "Which files each application writes"
}

module "stream" {
  source   = "../"
  for_each = var.applications

  stream_name    = "${each.key}-logs"
  allow_describe = true
}

resource "aws_iam_role" "standpipe" {
  name = "standpipe"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ec2.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy_attachment" "standpipe" {
  for_each = module.stream

  role       = aws_iam_role.standpipe.name
  policy_arn = each.value.producer_policy_arn
}

# For `iam_instance_profile` of the instances.
resource "aws_iam_instance_profile" "standpipe" {
  name = "standpipe"
  role = aws_iam_role.standpipe.name
}

output "standpipe_configuration" {
  description = "For /etc/standpipe/standpipe.toml"
  value = join("\n", [for name, paths in var.applications : <<-TOML
    [[source]]
    paths = ["${paths}"]
    stream = "${module.stream[name].stream_name}"
    [stream."${module.stream[name].stream_name}"]
    api = "auto"
    require_encryption = true
  TOML
  ])
}
