terraform {
  # 1.11 is the first version that keeps write-only attributes, such as a user's password, out of plan and state.
  required_version = ">= 1.11"

  required_providers {
    lockgate = {
      source = "lockgate/lockgate"
    }
  }
}

provider "lockgate" {
  # One URL is enough: the CA, the brokers' addresses and the provider's own credential are found under it.
  cluster = var.cluster
}
