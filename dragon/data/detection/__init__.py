"""Images with boxes: AnnotatedDatum records, SSD's random changes of image and boxes, annotations of VOC and COCO."""
