variable "cluster" {
  description = "URL of the cluster, such as file:///var/lib/lockgate for a broker on this machine."
  type        = string
}

# Ephemeral: Terraform forgets these values when it is done. They are in neither plan nor state.

variable "producer_password" {
  description = "Password of the user who writes orders."
  type        = string
  sensitive   = true
  ephemeral   = true
}

variable "consumer_password" {
  description = "Password of the user who reads orders."
  type        = string
  sensitive   = true
  ephemeral   = true
}

variable "password_version" {
  description = "Raise it to set both passwords anew: Terraform cannot see by itself that they have changed."
  type        = number
  default     = 1
}
