# One role per service account, with the prefixes that this step reads and writes and no others
# (docs/architecture.md, "Least power"). Nobody may delete.

locals {
  access = {
    bridge  = { read = ["probe.txt", "heartbeats/*", "watch/*", "parked/*"], write = ["README.md", "probe.txt", "synced/*", "heartbeats/*", "watch/*", "payloads/*", "data/*", "parked/*"] }
    triage  = { read = ["probe.txt", "data/*", "claims/*", "cleared/*", "incidents/*", "parked/*"], write = ["probe.txt", "data/*", "claims/*", "opened/*", "ignored/*", "incidents/*", "parked/*"] }
    context = { read = ["probe.txt", "data/*", "payloads/*", "incidents/*", "waiting/*", "parked/*"], write = ["probe.txt", "data/*", "incidents/*", "parked/*"] }
    launch  = { read = ["probe.txt", "data/*", "incidents/*", "claims/*", "cleared/*", "ledger/*", "waiting/*", "settled/*", "parked/*", "healing/*"], write = ["probe.txt", "data/*", "incidents/*", "parked/*", "ledger/*", "waiting/*", "healing/*"] }
    package = { read = ["probe.txt", "data/*", "incidents/*", "claims/*", "cleared/*", "ledger/*", "waiting/*", "settled/*", "pace/*", "parked/*"], write = ["probe.txt", "data/*", "incidents/*", "parked/*", "pace/*", "healing/*"] }
    close   = { read = ["probe.txt", "data/*", "calm/*", "claims/*", "cleared/*", "incidents/*", "waiting/*", "parked/*"], write = ["probe.txt", "data/*", "calm/*", "opened/*", "cleared/*", "incidents/*", "parked/*"] }
    sweep   = { read = ["probe.txt", "calm/*", "claims/*", "opened/*", "cleared/*", "incidents/*", "ledger/*", "waiting/*", "settled/*", "parked/*"], write = ["probe.txt", "data/*", "opened/*", "incidents/*", "settled/*", "parked/*"] }
    verify  = { read = ["probe.txt", "calm/*", "claims/*", "incidents/*", "synced/*", "waiting/*", "settled/*", "parked/*"], write = ["probe.txt", "data/*", "incidents/*", "settled/*", "parked/*"] }
    web     = { read = ["probe.txt", "claims/*", "cleared/*", "ignored/*", "parked/*", "incidents/*", "ledger/*", "waiting/*", "settled/*", "healing/*"], write = ["incidents/*"] }
    gateway = { read = ["incidents/*"], write = ["incidents/*/runs/*"] }
  }
  # Runs have no credentials: the gateway has them, and opens to each run what is its own. Without a gateway
  # (FAULTLINE_GATEWAY is empty, or a JobSink starts the runs) they have a role, the same for all.
  direct = { for name in ["agent"] : name => local.access.gateway if var.agent_direct }
  roles  = var.oidc_provider_arn == null ? {} : merge(local.access, local.direct)
}

data "aws_iam_policy_document" "trust" {
  for_each = local.roles
  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = [var.oidc_provider_arn]
    }
    condition {
      test     = "StringEquals"
      variable = "${var.oidc_issuer}:sub"
      values   = ["system:serviceaccount:${each.key == "agent" ? var.agent_namespace : var.namespace}:${each.key}"]
    }
    condition {
      test     = "StringEquals"
      variable = "${var.oidc_issuer}:aud"
      values   = ["sts.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "access" {
  for_each = local.roles
  statement {
    sid       = "Read"
    actions   = ["s3:GetObject"]
    resources = [for prefix in each.value.read : "${aws_s3_bucket.incidents.arn}/${prefix}"]
  }
  statement {
    sid       = "WriteOnce"
    actions   = ["s3:PutObject"]
    resources = [for prefix in each.value.write : "${aws_s3_bucket.incidents.arn}/${prefix}"]
  }
  statement {
    sid       = "List"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.incidents.arn]
    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = each.value.read
    }
  }
}

resource "aws_iam_role" "step" {
  for_each           = local.roles
  name               = "${var.bucket}-${each.key}"
  assume_role_policy = data.aws_iam_policy_document.trust[each.key].json
  tags               = var.tags
}

resource "aws_iam_role_policy" "step" {
  for_each = local.roles
  name     = "store"
  role     = aws_iam_role.step[each.key].id
  policy   = data.aws_iam_policy_document.access[each.key].json
}
