output "store" {
  description = "Value of the setting `store` (FAULTLINE_STORE)."
  value       = "s3://${aws_s3_bucket.incidents.bucket}"
}

output "roles" {
  description = "Role of each service account, for the annotation eks.amazonaws.com/role-arn."
  value       = { for name, role in aws_iam_role.step : name => role.arn }
}
