-- rows_to_touch --
-- Packets of some sensors, or with a source or destination in a range, of one period; set-aside ones too.
SELECT count() AS rows
FROM
(
    SELECT dataset, observed_at, sensor, src_addr, dst_addr
    FROM packets
    UNION ALL
    SELECT dataset, observed_at, sensor, src_addr, dst_addr
    FROM packets_excluded FINAL
)
WHERE ({dataset:String} = '' OR dataset = {dataset:String})
    AND observed_at >= {start:DateTime64(6, 'UTC')}
    AND observed_at < {end:DateTime64(6, 'UTC')}
    AND ({sensors:String} = '' OR has(splitByChar(',', {sensors:String}), toString(sensor)))
    AND
    (
        {first:String} = ''
        OR (src_addr BETWEEN toIPv6OrDefault({first:String}) AND toIPv6OrDefault({last:String}))
        OR (dst_addr BETWEEN toIPv6OrDefault({first:String}) AND toIPv6OrDefault({last:String}))
    )
