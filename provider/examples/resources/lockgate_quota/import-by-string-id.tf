import {
  to = lockgate_quota.billing
  id = "user=billing"
}
