# terraform test: no cloud, no network; the provider is mocked.

mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

variables {
  bucket = "faultline-test"
}

run "a_closed_bucket" {
  command = plan
  assert {
    condition     = aws_s3_bucket_public_access_block.incidents.block_public_acls && aws_s3_bucket_public_access_block.incidents.restrict_public_buckets
    error_message = "the bucket must block public access"
  }
  assert {
    condition     = one(aws_s3_bucket_server_side_encryption_configuration.incidents.rule).apply_server_side_encryption_by_default[0].sse_algorithm == "AES256"
    error_message = "without a key of its own the bucket is encrypted with SSE-S3"
  }
  assert {
    condition     = length(aws_iam_role.step) == 0
    error_message = "without an OIDC provider no roles are made"
  }
}

run "payloads_go_first" {
  command = plan
  assert {
    condition     = one([for r in aws_s3_bucket_lifecycle_configuration.incidents.rule : one(r.expiration).days if r.id == "payloads"]) < one([for r in aws_s3_bucket_lifecycle_configuration.incidents.rule : one(r.expiration).days if r.id == "incidents"])
    error_message = "what is not redacted is kept for a shorter time"
  }
}

run "a_role_per_step" {
  command = plan
  variables {
    oidc_provider_arn = "arn:aws:iam::123456789012:oidc-provider/oidc.example"
    oidc_issuer       = "oidc.example"
    kms_key_arn       = "arn:aws:kms:eu-central-1:123456789012:key/00000000-0000-0000-0000-000000000000"
  }
  assert {
    condition     = toset(keys(aws_iam_role.step)) == toset(["bridge", "triage", "context", "launch", "package", "close", "sweep", "verify", "web", "gateway"])
    error_message = "one role per service account"
  }
  assert {
    condition     = length(setintersection(toset(data.aws_iam_policy_document.access["gateway"].statement[1].actions), ["s3:DeleteObject"])) == 0
    error_message = "nobody deletes"
  }
  assert {
    condition     = toset(local.roles["gateway"].write) == toset(["incidents/*/runs/*"])
    error_message = "the gateway writes folders of runs and nothing else"
  }
  assert {
    condition     = one([for c in data.aws_iam_policy_document.trust["gateway"].statement[0].condition : c.values if endswith(c.variable, ":sub")]) == tolist(["system:serviceaccount:faultline:gateway"])
    error_message = "the gateway's role is for its account in the main namespace"
  }
}

run "agents_have_a_role_only_where_there_is_no_gateway" {
  command = plan
  variables {
    oidc_provider_arn = "arn:aws:iam::123456789012:oidc-provider/oidc.example"
    oidc_issuer       = "oidc.example"
    agent_direct      = true
  }
  assert {
    condition     = one([for c in data.aws_iam_policy_document.trust["agent"].statement[0].condition : c.values if endswith(c.variable, ":sub")]) == tolist(["system:serviceaccount:faultline-agents:agent"])
    error_message = "the role is for the agents' account in their own namespace"
  }
}

run "names_are_checked" {
  command         = plan
  expect_failures = [var.bucket]
  variables { bucket = "Not A Bucket" }
}

run "records_outlive_redeliveries" {
  command         = plan
  expect_failures = [var.incident_days]
  variables { incident_days = 7 }
}
