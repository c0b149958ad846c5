# The one place where everything known about incidents lives. Records are written once with a condition
# (If-None-Match), so versioning costs nothing and guards against a mistaken delete.

resource "aws_s3_bucket" "incidents" {
  bucket = var.bucket
  tags   = var.tags
}

resource "aws_s3_bucket_versioning" "incidents" {
  bucket = aws_s3_bucket.incidents.id
  versioning_configuration { status = "Enabled" }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "incidents" {
  bucket = aws_s3_bucket.incidents.id
  rule {
    bucket_key_enabled = var.kms_key_arn != null
    apply_server_side_encryption_by_default {
      sse_algorithm     = var.kms_key_arn == null ? "AES256" : "aws:kms"
      kms_master_key_id = var.kms_key_arn
    }
  }
}

resource "aws_s3_bucket_public_access_block" "incidents" {
  bucket                  = aws_s3_bucket.incidents.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

locals {
  days = {
    payloads  = var.payload_days
    parked    = var.payload_days
    data      = var.incident_days
    incidents = var.incident_days
    claims    = var.incident_days
    cleared   = var.incident_days
    ignored   = var.incident_days
    waiting   = var.incident_days
    opened    = var.incident_days
    calm      = var.incident_days
    settled   = var.incident_days
    healing   = var.incident_days
  }
}

# Retention is a rule of the bucket, not code of ours: nothing in Faultline deletes.
resource "aws_s3_bucket_lifecycle_configuration" "incidents" {
  bucket     = aws_s3_bucket.incidents.id
  depends_on = [aws_s3_bucket_versioning.incidents]

  dynamic "rule" {
    for_each = local.days
    content {
      id     = rule.key
      status = "Enabled"
      filter { prefix = "${rule.key}/" }
      expiration { days = rule.value }
      noncurrent_version_expiration { noncurrent_days = 7 }
      abort_incomplete_multipart_upload { days_after_initiation = 1 }
    }
  }
}

data "aws_iam_policy_document" "tls_only" {
  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.incidents.arn, "${aws_s3_bucket.incidents.arn}/*"]
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

resource "aws_s3_bucket_policy" "incidents" {
  bucket     = aws_s3_bucket.incidents.id
  policy     = data.aws_iam_policy_document.tls_only.json
  depends_on = [aws_s3_bucket_public_access_block.incidents]
}
