from keraslip.testing.linear_maps import check_map as check_map
