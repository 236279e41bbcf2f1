# Mutual TLS

# The certificate says who the provider is; its principal needs the rights.
provider "lockgate" {
  bootstrap_servers = ["broker-1.example:9094"]

  tls = {
    ca_file          = "/etc/kafka/ca.pem"
    client_cert_file = "/etc/kafka/terraform.pem"
    client_key_file  = "/etc/kafka/terraform.key"
  }
}
