# The smallest useful setup: two topics, a user who writes to one of them, a user who reads from it, and nothing else
# allowed to anyone.

resource "lockgate_topic" "orders" {
  name       = "orders"
  partitions = 3

  # Kafka's own names. What is not named here keeps the broker's default.
  config = {
    "retention.ms" = 7 * 24 * 60 * 60 * 1000 # a week
  }

  # Removing a topic removes its records, so a topic is protected until this is false and applied:
  # deletion_protection = false
}

resource "lockgate_topic" "order_status" {
  name       = "order-status"
  partitions = 1

  # Keeps the last record of each key instead of the last week.
  config = {
    "cleanup.policy" = "compact"
  }
}

# The users. Their passwords reach the broker and nothing else.

resource "lockgate_user" "producer" {
  username            = "orders-producer"
  password_wo         = var.producer_password
  password_wo_version = var.password_version
}

resource "lockgate_user" "consumer" {
  username            = "orders-consumer"
  password_wo         = var.consumer_password
  password_wo_version = var.password_version
}

# What they may do. Whatever no ACL allows is refused.

resource "lockgate_acl" "producer_writes_orders" {
  principal     = "User:${lockgate_user.producer.username}"
  resource_type = "Topic"
  resource_name = lockgate_topic.orders.name
  operations    = ["Describe", "Write"]
}

resource "lockgate_acl" "consumer_reads_orders" {
  principal     = "User:${lockgate_user.consumer.username}"
  resource_type = "Topic"
  resource_name = lockgate_topic.orders.name
  operations    = ["Describe", "Read"]
}

# Consumers share the work in a group, and commit there how far they have read.
resource "lockgate_acl" "consumer_groups" {
  principal     = "User:${lockgate_user.consumer.username}"
  resource_type = "Group"
  resource_name = "orders-"
  pattern_type  = "Prefixed"
  operations    = ["Describe", "Read"]
}
