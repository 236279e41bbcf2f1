import {
  to = lockgate_topic.orders
  id = "orders"
}
