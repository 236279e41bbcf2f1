# Any Kafka cluster, by its servers

# Ephemeral: the password is in neither plan nor state.
variable "kafka_password" {
  type      = string
  sensitive = true
  ephemeral = true
}

provider "lockgate" {
  bootstrap_servers = ["broker-1.example:9093", "broker-2.example:9093"]

  tls = {
    ca_file = "/etc/kafka/ca.pem"
  }

  sasl = {
    mechanism = "SCRAM-SHA-512"
    username  = "terraform"
    password  = var.kafka_password
  }

  timeouts = {
    connect = "10s"
    ready   = "5m"
  }
}
