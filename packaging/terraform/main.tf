# A delivery stream for standpipe, with all that it needs: a private bucket, the role by which the service writes into it,
# a log of failed deliveries, and a policy for whoever sends. packaging/cloudformation/standpipe.yaml makes the same.
#
#   $ terraform -chdir=packaging/terraform init
#   $ AWS_REGION=eu-central-1 terraform -chdir=packaging/terraform apply -var stream_name=app-logs
#
# or as a module of your own configuration (source = "./packaging/terraform").
#
# Attach the policy producer_policy_arn to the role that standpipe runs as (docs/aws.md has each kind), and let
# /etc/standpipe/standpipe.toml name the stream and the provider's region:
#
#   [aws]
#   region = "eu-central-1"
#
#   [[source]]
#   paths = ["/var/log/app/*.log"]
#   stream = "app-logs"
#
#   [stream.app-logs]
#   api = "auto"
#   require_encryption = true
#
# `standpipe check --online` says whether it works; it needs allow_describe = true. A bucket that has objects is not
# destroyed.

terraform {
  required_version = ">= 1.3"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "stream_name" {
  type        = string
  default     = "app-logs"
  description = "Name of the delivery stream"
  validation {
    condition     = can(regex("^[a-zA-Z0-9_.-]{1,64}$", var.stream_name))
    error_message = "Up to 64 letters, digits, '_', '.' and '-'."
  }
}

variable "buffer_seconds" {
  type        = number
  default     = 300
  description = "An object is written after so many seconds at the latest"
}

variable "buffer_mebibytes" {
  type        = number
  default     = 64
  description = "An object is written once so much has come"
}

variable "compression_format" {
  type        = string
  default     = "GZIP"
  description = "How objects are kept"
}

variable "error_log_days" {
  type        = number
  default     = 30
  description = "For how many days failed deliveries are kept in the log"
}

variable "allow_describe" {
  type        = bool
  default     = false
  description = "Whether the policy also allows what `standpipe check --online` asks for"
}

data "aws_caller_identity" "current" {}

resource "aws_s3_bucket" "bucket" {
  bucket_prefix = "standpipe-"
}

resource "aws_s3_bucket_server_side_encryption_configuration" "bucket" {
  bucket = aws_s3_bucket.bucket.id
  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_public_access_block" "bucket" {
  bucket                  = aws_s3_bucket.bucket.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "bucket" {
  bucket = aws_s3_bucket.bucket.id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

# Parts of uploads that never ended are billed, and shown nowhere.
resource "aws_s3_bucket_lifecycle_configuration" "bucket" {
  bucket = aws_s3_bucket.bucket.id
  rule {
    id     = "abandoned-uploads"
    status = "Enabled"
    filter {}
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }
}

data "aws_iam_policy_document" "bucket" {
  statement {
    sid       = "OnlyOverTls"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.bucket.arn, "${aws_s3_bucket.bucket.arn}/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "bucket" {
  bucket = aws_s3_bucket.bucket.id
  policy = data.aws_iam_policy_document.bucket.json
  # Two changes of one bucket's access at once are refused.
  depends_on = [aws_s3_bucket_public_access_block.bucket]
}

resource "aws_cloudwatch_log_group" "errors" {
  name              = "/aws/kinesisfirehose/${var.stream_name}"
  retention_in_days = var.error_log_days
}

resource "aws_cloudwatch_log_stream" "errors" {
  name           = "DestinationDelivery"
  log_group_name = aws_cloudwatch_log_group.errors.name
}

data "aws_iam_policy_document" "trust" {
  statement {
    effect  = "Allow"
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["firehose.amazonaws.com"]
    }
    # Not for a delivery stream of another account.
    condition {
      test     = "StringEquals"
      variable = "sts:ExternalId"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

resource "aws_iam_role" "delivery" {
  name_prefix        = "standpipe-delivery-"
  description        = "What the delivery stream ${var.stream_name} may do with its bucket and its log"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

# The service's own list of what it needs.
data "aws_iam_policy_document" "delivery" {
  statement {
    effect    = "Allow"
    actions   = ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"]
    resources = [aws_s3_bucket.bucket.arn]
  }
  statement {
    effect    = "Allow"
    actions   = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"]
    resources = ["${aws_s3_bucket.bucket.arn}/*"]
  }
  statement {
    effect    = "Allow"
    actions   = ["logs:PutLogEvents"]
    resources = [aws_cloudwatch_log_stream.errors.arn]
  }
}

resource "aws_iam_role_policy" "delivery" {
  name   = "deliver"
  role   = aws_iam_role.delivery.id
  policy = data.aws_iam_policy_document.delivery.json
}

# Without a source of its own it takes PutRecord and PutRecordBatch (DirectPut).
resource "aws_kinesis_firehose_delivery_stream" "stream" {
  name        = var.stream_name
  destination = "extended_s3"

  # With the service's key: whoever sends needs no permission for it.
  server_side_encryption {
    enabled  = true
    key_type = "AWS_OWNED_CMK"
  }

  extended_s3_configuration {
    bucket_arn = aws_s3_bucket.bucket.arn
    role_arn   = aws_iam_role.delivery.arn
    # The service appends YYYY/MM/dd/HH/ to the first.
    prefix              = "records/"
    error_output_prefix = "errors/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd/HH}/"
    buffering_interval  = var.buffer_seconds
    buffering_size      = var.buffer_mebibytes
    compression_format  = var.compression_format
    cloudwatch_logging_options {
      enabled         = true
      log_group_name  = aws_cloudwatch_log_group.errors.name
      log_stream_name = aws_cloudwatch_log_stream.errors.name
    }
  }

  depends_on = [aws_iam_role_policy.delivery]
}

data "aws_iam_policy_document" "producer" {
  statement {
    effect    = "Allow"
    actions   = ["firehose:PutRecord", "firehose:PutRecordBatch"]
    resources = [aws_kinesis_firehose_delivery_stream.stream.arn]
  }
  dynamic "statement" {
    for_each = var.allow_describe ? [1] : []
    content {
      effect    = "Allow"
      actions   = ["firehose:DescribeDeliveryStream"]
      resources = [aws_kinesis_firehose_delivery_stream.stream.arn]
    }
  }
}

resource "aws_iam_policy" "producer" {
  name_prefix = "standpipe-producer-"
  description = "Sends records to the delivery stream ${var.stream_name}"
  policy      = data.aws_iam_policy_document.producer.json
}

output "stream_name" {
  description = "For `stream` in standpipe.toml"
  value       = aws_kinesis_firehose_delivery_stream.stream.name
}

output "stream_arn" {
  description = "For policies of your own"
  value       = aws_kinesis_firehose_delivery_stream.stream.arn
}

output "producer_policy_arn" {
  description = "To attach to the role that standpipe runs as"
  value       = aws_iam_policy.producer.arn
}

output "bucket_name" {
  description = "Where the records arrive"
  value       = aws_s3_bucket.bucket.id
}
