variable "bucket" {
  description = "Name of the bucket that keeps every record (settings: store = s3://<bucket>)."
  type        = string
  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.bucket))
    error_message = "A bucket name has 3 to 63 characters: lower-case letters, digits, dots and dashes."
  }
}

variable "kms_key_arn" {
  description = "KMS key for encryption at rest; null: the bucket's own (SSE-S3)."
  type        = string
  default     = null
}

variable "payload_days" {
  description = "Days that payloads/ and parked/ are kept: the senders' messages as they came, not redacted."
  type        = number
  default     = 14
}

variable "incident_days" {
  description = "Days that incidents and their claims are kept. Reports must outlive a redelivery: 30 at least."
  type        = number
  default     = 400
  validation {
    condition     = var.incident_days >= 30
    error_message = "incident_days must be 30 or more: a record is what tells a late redelivery from a new fault."
  }
}

variable "oidc_provider_arn" {
  description = "OIDC provider of the cluster, for roles of service accounts; null: no roles are made."
  type        = string
  default     = null
}

variable "oidc_issuer" {
  description = "Issuer of that provider, without https://."
  type        = string
  default     = ""
}

variable "namespace" {
  description = "Namespace that Faultline runs in."
  type        = string
  default     = "faultline"
}

variable "agent_namespace" {
  description = "Namespace that agent Jobs run in."
  type        = string
  default     = "faultline-agents"
}

variable "agent_direct" {
  description = "Do agent Jobs reach the store themselves, without the gateway? Then there is a role for them too."
  type        = bool
  default     = false
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
