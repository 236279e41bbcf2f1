# For older clients too

variable "legacy_password" {
  type      = string
  sensitive = true
  ephemeral = true
}

# One password, hashed for each mechanism.
resource "lockgate_user" "legacy" {
  username            = "legacy"
  mechanisms          = ["SCRAM-SHA-256", "SCRAM-SHA-512"]
  iterations          = 4096
  password_wo         = var.legacy_password
  password_wo_version = 1
}
