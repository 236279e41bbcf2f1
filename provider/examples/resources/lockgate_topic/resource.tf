resource "lockgate_topic" "orders" {
  name       = "orders"
  partitions = 3

  # Kafka's own names. What is not named here keeps the broker's default.
  config = {
    "retention.ms"      = 7 * 24 * 60 * 60 * 1000 # a week
    "max.message.bytes" = 2 * 1024 * 1024
  }
}
