# Ephemeral and write-only: the password is in neither plan nor state. Give it as TF_VAR_billing_password.
variable "billing_password" {
  type      = string
  sensitive = true
  ephemeral = true
}

resource "lockgate_user" "billing" {
  username            = "billing"
  password_wo         = var.billing_password
  password_wo_version = 1 # raise it to set the password anew
}
