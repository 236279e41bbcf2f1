terraform {
  required_providers {
    lockgate = {
      source = "lockgate/lockgate"
    }
  }
}

# One URL is enough: the CA, the addresses and the provider's own credential are found under it.
provider "lockgate" {
  cluster = "file:///var/lib/lockgate"
}
