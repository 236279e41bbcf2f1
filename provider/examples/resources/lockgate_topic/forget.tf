# No longer managed, and kept

# In place of the resource: the topic leaves the state, and stays in the cluster with its records, protected or not.
removed {
  from = lockgate_topic.orders

  lifecycle {
    destroy = false
  }
}
